#include "storage/safetensors.hpp"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/json.hpp"

namespace rondo::storage {
namespace {

using Json = nlohmann::json;
static_assert(std::endian::native == std::endian::little);

constexpr int64_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation
constexpr int64_t kPieceElements = 1 << 20;

struct DtypeName {
  std::string_view name;
  Dtype dtype;
  int64_t bytes;
};
constexpr std::array kDtypes = {
    DtypeName{"F32", Dtype::kF32, 4},    DtypeName{"BF16", Dtype::kBf16, 2},
    DtypeName{"F16", Dtype::kF16, 2},    DtypeName{"F64", Dtype::kF64, 8},
    DtypeName{"F8_E4M3", Dtype::kF8, 1}, DtypeName{"F8_E5M2", Dtype::kF8, 1},
    DtypeName{"F8_E8M0", Dtype::kF8, 1}, DtypeName{"I64", Dtype::kI64, 8},
    DtypeName{"U64", Dtype::kU64, 8},    DtypeName{"I32", Dtype::kI32, 4},
    DtypeName{"U32", Dtype::kU32, 4},    DtypeName{"I16", Dtype::kI16, 2},
    DtypeName{"U16", Dtype::kU16, 2},    DtypeName{"I8", Dtype::kI8, 1},
    DtypeName{"U8", Dtype::kU8, 1},      DtypeName{"BOOL", Dtype::kBool, 1},
    DtypeName{"C64", Dtype::kC64, 8},
};

const DtypeName& entry_of(Dtype dtype) {
  const auto* found = std::ranges::find(kDtypes, dtype, &DtypeName::dtype);
  RONDO_CHECK(found != kDtypes.end());
  return *found;
}

constexpr std::string_view kAgain = "Download or copy the file again.";

// A JSON object. `what` begins the messages.
Json parse_object(std::string_view text, const std::string& what) {
  Json json = base::parse_json(text, what, kAgain);
  if (!json.is_object()) {
    base::fail_user("{} is {}, expected a JSON object. {}", what, json.type_name(), kAgain);
  }
  return json;
}

// The JSON text of a file's header, after the checks on its length.
std::string read_header(const base::File& file) {
  const int64_t size = file.size();
  std::string start(static_cast<size_t>(std::min<int64_t>(size, 64)), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(start)));
  if (start.starts_with("version https://git-lfs")) {
    base::fail_user(
        "{}: this is a Git LFS pointer ({} bytes), not the weights. Run `git lfs pull` in the "
        "repository it came from, or download the file itself.",
        file.path(), size);
  }
  if (size < 8) {
    base::fail_user("{}: {} bytes, but a safetensors file begins with 8 bytes of length. {}",
                    file.path(), size, kAgain);
  }
  uint64_t length = 0;
  std::memcpy(&length, start.data(), sizeof(length));
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    base::fail_user(
        "{}: the header's length is {} bytes, at most {} are allowed. The file is damaged or not a "
        "safetensors file. {}",
        file.path(), length, kMaxHeaderBytes, kAgain);
  }
  const auto bytes = static_cast<int64_t>(length);
  if (bytes > size - 8) {
    base::fail_user(
        "{}: the header should be {} bytes long, but only {} follow: the file is truncated. {}",
        file.path(), bytes, size - 8, kAgain);
  }
  std::string header(length, '\0');
  file.read_at(8, std::as_writable_bytes(std::span(header)));
  if (!header.starts_with('{')) {
    base::fail_user("{}: the header does not begin with '{{': not a safetensors file. {}",
                    file.path(), kAgain);
  }
  return header;
}

void check_metadata(const std::string& path, const Json& metadata) {
  bool texts = metadata.is_object();
  if (texts) {
    for (const auto& [key, value] : metadata.items()) texts = texts && value.is_string();
  }
  if (!texts) {
    base::fail_user("{}: __metadata__ must map texts to texts. {}", path, kAgain);
  }
}

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  std::string name;
};

bool is_size(const Json& value) { return base::whole_number(value).value_or(-1) >= 0; }

// One tensor's entry, checked by itself; its byte range within the data goes to `range`.
TensorInfo parse_entry(const std::string& path, const std::string& name, const Json& entry,
                       Range& range) {
  const auto fail = [&](const std::string& why) {
    base::fail_user("{}: tensor \"{}\": {}. {}", path, name, why, kAgain);
  };
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
      !entry.contains("shape") || !entry.contains("data_offsets")) {
    fail("its header entry must have exactly dtype, shape and data_offsets");
  }
  TensorInfo info;
  const Json& dtype = entry["dtype"];
  const auto* known = dtype.is_string()
                          ? std::ranges::find(kDtypes, dtype.get<std::string>(), &DtypeName::name)
                          : kDtypes.end();
  if (known == kDtypes.end()) {
    fail(fmt::format("unknown dtype {}, expected F32, BF16 or F16", dtype.dump()));
  }
  info.dtype = known->dtype;

  const Json& shape = entry["shape"];
  if (!shape.is_array() || !std::ranges::all_of(shape, is_size)) {
    fail(fmt::format("shape {} is not a list of whole numbers", shape.dump()));
  }
  int64_t bytes = known->bytes;
  info.numel = 1;
  for (const Json& dim : shape) {
    info.shape.push_back(dim.get<int64_t>());
    if (__builtin_mul_overflow(bytes, info.shape.back(), &bytes)) {
      fail(fmt::format("shape {} overflows 64 bits", shape.dump()));
    }
    info.numel *= info.shape.back();
  }

  const Json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !std::ranges::all_of(offsets, is_size)) {
    fail(fmt::format("data_offsets {} is not a pair of byte offsets", offsets.dump()));
  }
  range = {offsets[0].get<int64_t>(), offsets[1].get<int64_t>(), name};
  if (range.end < range.begin) {
    fail(fmt::format("data_offsets {} end before they begin", offsets.dump()));
  }
  if (range.end - range.begin != bytes) {
    fail(fmt::format("data_offsets {} span {} bytes, but shape {} of {} takes {}", offsets.dump(),
                     range.end - range.begin, shape.dump(), known->name, bytes));
  }
  return info;
}

// The ranges must tile [0, data_bytes) without overlap, hole or rest.
void check_tiling(const std::string& path, std::vector<Range> ranges, int64_t data_bytes) {
  std::ranges::sort(ranges, {}, [](const Range& r) { return std::pair(r.begin, r.end); });
  int64_t end = 0;
  for (const Range& range : ranges) {
    if (range.begin != end) {
      base::fail_user(
          "{}: tensor \"{}\" begins at byte {} of the data, expected {}: the tensors {}. {}", path,
          range.name, range.begin, end, range.begin < end ? "overlap" : "leave a hole", kAgain);
    }
    end = range.end;
  }
  if (end > data_bytes) {
    base::fail_user("{}: the tensors end at byte {} of the data, but there are {}: truncated. {}",
                    path, end, data_bytes, kAgain);
  }
  if (end < data_bytes) {
    base::fail_user("{}: {} bytes follow the last tensor; nothing may. {}", path, data_bytes - end,
                    kAgain);
  }
}

// Index file -> name of the file of each tensor.
std::map<std::string, std::string> read_index(const std::string& path) {
  const Json index = parse_object(base::read_text(path), path);
  if (!index.contains("weight_map") || !index["weight_map"].is_object() ||
      index["weight_map"].empty()) {
    base::fail_user("{}: no \"weight_map\" from tensor names to file names. {}", path, kAgain);
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : index["weight_map"].items()) {
    const std::string text = file.is_string() ? file.get<std::string>() : "";
    if (text.empty() || text.find('/') != std::string::npos || text.starts_with('.')) {
      base::fail_user("{}: tensor \"{}\" is in {}, expected the name of a file in this folder.",
                      path, name, file.dump());
    }
    files[name] = text;
  }
  return files;
}

template <class Half>
void widen(std::span<const uint16_t> in, std::span<float> out) {
  for (size_t i = 0; i < in.size(); ++i) {
    out[i] = static_cast<float>(Half(in[i], Half::from_bits()));
  }
}

}  // namespace

int64_t bytes_of(Dtype dtype) { return entry_of(dtype).bytes; }
std::string_view name_of(Dtype dtype) { return entry_of(dtype).name; }

void SafetensorsReader::add_file(const std::string& path) {
  base::File file = base::File::open_read(path);
  const std::string header = read_header(file);
  const Json json = parse_object(header, fmt::format("{}: the header", path));
  const int64_t data_begin = 8 + static_cast<int64_t>(header.size());
  std::vector<Range> ranges;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      check_metadata(path, entry);
      continue;
    }
    Range range;
    TensorInfo info = parse_entry(path, name, entry, range);
    info.file = files_.size();
    info.offset = data_begin + range.begin;
    const auto [other, inserted] = tensors_.emplace(name, std::move(info));
    if (!inserted) {
      base::fail_user(
          "tensor \"{}\" is in two files: {} and {}. Remove the file that is not part "
          "of this model.",
          name, files_[other->second.file].path(), path);
    }
    ranges.push_back(std::move(range));
  }
  check_tiling(path, std::move(ranges), file.size() - data_begin);
  files_.push_back(std::move(file));
}

SafetensorsReader SafetensorsReader::open_file(const std::string& path) {
  SafetensorsReader reader;
  reader.add_file(path);
  return reader;
}

SafetensorsReader SafetensorsReader::open_folder(const std::string& folder) {
  namespace fs = std::filesystem;
  const std::string single = folder + "/model.safetensors";
  const std::string index = folder + "/model.safetensors.index.json";
  const bool has_single = fs::exists(single);
  const bool has_index = fs::exists(index);
  if (has_single && has_index) {
    base::fail_user(
        "{}: both model.safetensors and model.safetensors.index.json are there, and they may hold "
        "different weights. Remove the one that is not meant.",
        folder);
  }
  if (has_single) return open_file(single);
  if (!has_index) {
    const bool pickled = fs::exists(folder + "/pytorch_model.bin") ||
                         fs::exists(folder + "/pytorch_model.bin.index.json");
    base::fail_user("{}: neither model.safetensors nor model.safetensors.index.json is there. {}",
                    folder,
                    pickled ? "pytorch_model.bin cannot be read: load the folder in transformers "
                              "and write it with save_pretrained, which makes safetensors."
                            : "Give a Hugging Face model folder with weights.");
  }

  const std::map<std::string, std::string> file_of = read_index(index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : file_of) names.insert(file);
  for (const std::string& name : names) {
    if (!fs::exists(folder + "/" + name)) {
      base::fail_user("{} names {}, which is not in the folder. Download it too.", index, name);
    }
  }
  SafetensorsReader reader;
  for (const std::string& name : names) reader.add_file(folder + "/" + name);
  for (const auto& [tensor, file] : file_of) {
    if (!reader.has(tensor) || reader.path_of(tensor) != folder + "/" + file) {
      base::fail_user("{} says that tensor \"{}\" is in {}, but it is {}. {}", index, tensor, file,
                      reader.has(tensor) ? "in " + reader.path_of(tensor) : "not there", kAgain);
    }
  }
  for (const auto& [tensor, info] : reader.tensors()) {
    if (!file_of.contains(tensor)) {
      base::fail_user("{}: tensor \"{}\" is not listed in {}. {}", reader.path_of(tensor), tensor,
                      index, kAgain);
    }
  }
  return reader;
}

const std::string& SafetensorsReader::path_of(const std::string& name) const {
  return files_[tensors_.at(name).file].path();
}

void SafetensorsReader::read(const std::string& name, int64_t begin, std::span<float> out) const {
  const TensorInfo& info = tensors_.at(name);
  const auto count = static_cast<int64_t>(out.size());
  RONDO_CHECK(begin >= 0 && count <= info.numel && begin <= info.numel - count,
              "{}: elements [{}, {} + {}) of {}", name, begin, begin, count, info.numel);
  const base::File& file = files_[info.file];
  if (info.dtype == Dtype::kF32) {
    file.read_at(info.offset + begin * 4, std::as_writable_bytes(out));
    return;
  }
  if (info.dtype != Dtype::kBf16 && info.dtype != Dtype::kF16) {
    base::fail_user(
        "{}: tensor \"{}\" has dtype {}, expected F32, BF16 or F16. Convert it in transformers: "
        "from_pretrained(..., dtype=torch.float32), then save_pretrained.",
        file.path(), name, name_of(info.dtype));
  }
  std::vector<uint16_t> piece(static_cast<size_t>(std::min(count, kPieceElements)));
  for (int64_t done = 0; done < count; done += kPieceElements) {
    const auto size = static_cast<size_t>(std::min(kPieceElements, count - done));
    const std::span<uint16_t> in = std::span(piece).first(size);
    file.read_at(info.offset + (begin + done) * 2, std::as_writable_bytes(in));
    const std::span<float> to = out.subspan(static_cast<size_t>(done), size);
    if (info.dtype == Dtype::kBf16) {
      widen<c10::BFloat16>(in, to);
    } else {
      widen<c10::Half>(in, to);
    }
  }
}

}  // namespace rondo::storage
