// Files that HDF5 did not make: a valid tokenised file with bytes changed (each by two bytes of
// place and one of value, behind a first byte of 0), or cut (behind a 1), or the input itself
// (behind anything else). What is found here may be the library's: see docs/fuzzing.md.
#include "base/file.hpp"
#include "fuzz/tokenized_content.hpp"

namespace rondo::fuzz {
namespace {

void run(Input input) {
  static const std::string valid =
      base::read_text(write_content("valid.h5", tokenized_content(), ""));
  std::string bytes = valid;
  const uint8_t mode = input.byte();
  if (mode > 1) bytes = input.rest();
  if (mode == 1) bytes.resize((size_t{input.byte()} * 256 + input.byte()) % bytes.size());
  while (!input.empty() && !bytes.empty()) {
    const size_t place = size_t{input.byte()} * 256 + input.byte();
    bytes[place % bytes.size()] = static_cast<char>(input.byte());
  }
  read_tokenized(write_file("in.h5", bytes), Refusal::kSystemErrorToo);
}

}  // namespace
}  // namespace rondo::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rondo::fuzz::run({data, size});
  return 0;
}
