// Tokenised files that HDF5 itself made: a valid one, changed as the input says.
#include "fuzz/tokenized_content.hpp"

namespace rondo::fuzz {
namespace {

void run(Input input) {
  static const std::string other = write_content("other.h5", tokenized_content(), "");
  Content content = tokenized_content();
  while (!input.empty()) edit(content, input);
  read_tokenized(write_content("in.h5", content, other), Refusal::kUserError);
}

}  // namespace
}  // namespace rondo::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rondo::fuzz::run({data, size});
  return 0;
}
