#include "LoweringUtils.h"
#include "Patterns.h"
void sparseattn::populateSelectionPatterns(mlir::RewritePatternSet &patterns) {}
