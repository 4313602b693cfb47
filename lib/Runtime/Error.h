//===- Error.h - a failure on its way to the caller ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_ERROR_H
#define SPARSEATTN_LIB_RUNTIME_ERROR_H

#include "sparseattn-c/Runtime.h"
#include <exception>
#include <sstream>
#include <string>

namespace sparseattn::runtime {

/// Thrown inside the library; every C function turns it into its status.
class Error : public std::exception {
public:
  Error(SparseAttnStatus status, std::string message, int driverCode = 0)
      : status(status), driverCode(driverCode), message(std::move(message)) {}
  const char *what() const noexcept override { return message.c_str(); }

  SparseAttnStatus status;
  int driverCode;

private:
  std::string message;
};

template <typename... Parts>
std::string concat(const Parts &...parts) {
  std::ostringstream stream;
  ((stream << parts), ...);
  return stream.str();
}

/// The caller's fault.
template <typename... Parts>
[[noreturn]] void refuse(const Parts &...parts) {
  throw Error(SPARSEATTN_INVALID_ARGUMENT, concat(parts...));
}

/// The artefact's fault.
template <typename... Parts>
[[noreturn]] void refuseArtefact(const Parts &...parts) {
  throw Error(SPARSEATTN_INVALID_ARTEFACT, concat(parts...));
}

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_ERROR_H
