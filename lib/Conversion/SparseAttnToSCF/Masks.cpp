#include "LoweringUtils.h"
#include "Patterns.h"
void sparseattn::populateMaskPatterns(mlir::RewritePatternSet &patterns) {}
