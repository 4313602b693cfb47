#include "LoweringUtils.h"
#include "Patterns.h"
void sparseattn::populateEntmaxPatterns(mlir::RewritePatternSet &patterns) {}
