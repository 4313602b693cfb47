//===- TestMain.cpp - entry of the unit tests -----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "gtest/gtest.h"

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
