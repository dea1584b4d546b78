// Every rank runs every test; the program fails when a test fails on any rank.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "support/world.hpp"

int main(int argc, char** argv) {
  rondo::comm::Runtime runtime(&argc, &argv);
  rondo::test::set_runtime(&runtime);
  at::set_num_threads(1);
  ::testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  auto control = runtime.make_control();
  return control.any_true(failed != 0) ? 1 : 0;
}
