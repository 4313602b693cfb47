//===- KernelReader.h - one kernel of manifest.json ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_KERNELREADER_H
#define SPARSEATTN_LIB_RUNTIME_KERNELREADER_H

#include "Json.h"
#include "Manifest.h"
#include <map>

namespace sparseattn::runtime {

/// Files of the artefact, each read once: kernels may share them.
class ImageCache {
public:
  explicit ImageCache(std::string folder) : folder(std::move(folder)) {}
  const std::shared_ptr<const std::string> &get(const std::string &file);

private:
  std::string folder;
  std::map<std::string, std::shared_ptr<const std::string>> files;
};

KernelSpec readKernel(const Node &node, ImageCache &images);

/// Reads "parameters", after everything else of the kernel.
void readParameters(const Node &list, KernelSpec &kernel);

/// Index of the operand, axis or value with the name that `node` holds.
int findOperand(const Node &node, const KernelSpec &kernel);
int findAxis(const Node &node, const Operand &operand);
int findValue(const Node &node, const KernelSpec &kernel);

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_KERNELREADER_H
