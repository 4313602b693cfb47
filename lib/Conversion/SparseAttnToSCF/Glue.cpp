#include "LoweringUtils.h"
#include "Patterns.h"
void sparseattn::populateGluePatterns(mlir::RewritePatternSet &patterns) {}
