// Safetensors: one file, or a folder with an index. The first byte says which:
//   a multiple of 3: the rest is the file
//   one more:        a byte n, then the header; the file has the right length and n * 16 bytes of
//   data two more:        a byte n, then header, header, index, each ended by a zero byte: two such
//   files
#include <algorithm>
#include <cstring>

#include "fuzz/input.hpp"
#include "storage/safetensors.hpp"

namespace rondo::fuzz {
namespace {

using storage::Dtype;
using storage::SafetensorsReader;

std::string file_of(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  bytes += header;
  return bytes.append(data_bytes, '\x3c');
}

// What a reader has accepted can be read, whole and in pieces.
void read_everything(const SafetensorsReader& reader) {
  for (const auto& entry : reader.tensors()) {
    const std::string& name = entry.first;
    const storage::TensorInfo& info = entry.second;
    RONDO_CHECK(info.numel >= 0 && !reader.path_of(name).empty());
    const bool number =
        info.dtype == Dtype::kF32 || info.dtype == Dtype::kBf16 || info.dtype == Dtype::kF16;
    std::vector<float> values(static_cast<size_t>(std::min<int64_t>(info.numel, 1 << 16)));
    const auto begin = info.numel - static_cast<int64_t>(values.size());
    const bool read = accepts([&] { reader.read(name, begin, values); });
    RONDO_CHECK(read == number || (read && values.empty()));
    if (number && values.size() > 1) reader.read(name, begin + 1, std::span(values).subspan(1));
  }
}

void run(Input input) {
  switch (input.below(3)) {
    case 0: {
      const std::string path = write_file("raw.safetensors", input.rest());
      accepts([&] { read_everything(SafetensorsReader::open_file(path)); });
      return;
    }
    case 1: {
      const size_t data_bytes = 16 * size_t{input.byte()};
      const std::string path = write_file("one.safetensors", file_of(input.rest(), data_bytes));
      accepts([&] { read_everything(SafetensorsReader::open_file(path)); });
      return;
    }
    default: {
      const size_t data_bytes = 16 * size_t{input.byte()};
      write_file("a.safetensors", file_of(input.until('\0'), data_bytes));
      write_file("b.safetensors", file_of(input.until('\0'), data_bytes));
      write_file("model.safetensors.index.json", input.until('\0'));
      accepts([&] { read_everything(SafetensorsReader::open_folder(folder())); });
      return;
    }
  }
}

}  // namespace
}  // namespace rondo::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rondo::fuzz::run({data, size});
  return 0;
}
