//===- Registration.h - one call that makes everything known --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_REGISTRATION_H
#define SPARSEATTN_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace sparseattn {

/// Adds the project's dialects to `registry`.
void registerDialects(mlir::DialectRegistry &registry);

/// Registers the project's passes and pipelines with the global pass registry.
/// Safe to call more than once.
void registerPasses();

} // namespace sparseattn

#endif // SPARSEATTN_REGISTRATION_H
