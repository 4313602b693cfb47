/* The C ABI as a C program sees it. Argument: an empty folder to write to. */
#include "test.h"

int failures = 0;

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  CHECK(strstr(sparseattnVersion(), "MLIR 22.") != NULL);
  testPipelines();
  testEngine();
  testFiles(argv[1]);
  printf("%d failures\n", failures);
  return failures != 0;
}
