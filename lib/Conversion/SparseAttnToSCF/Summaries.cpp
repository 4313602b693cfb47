#include "LoweringUtils.h"
#include "Patterns.h"
void sparseattn::populateSummaryPatterns(mlir::RewritePatternSet &patterns) {}
