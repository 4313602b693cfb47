#include "LoweringUtils.h"
#include "Patterns.h"
void sparseattn::populateAttentionPatterns(mlir::RewritePatternSet &patterns) {}
