//===- OldDriver.cpp - a CUDA driver of before tensor maps ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

extern "C" {

int cuInit(unsigned) { return 0; }

int cuDriverGetVersion(int *version) {
  *version = 11080;
  return 0;
}

} // extern "C"
