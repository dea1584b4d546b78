#include "storage/hdf5.hpp"

#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <span>
#include <utility>

#include "base/error.hpp"
#include "base/file.hpp"

namespace rondo::storage {

namespace {

// Recursive, since handles close themselves inside calls that hold it already.
std::recursive_mutex g_hdf5_mutex;

class Lock {
 public:
  Lock() : hold_(g_hdf5_mutex) {
    static const herr_t quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    RONDO_CHECK(quiet >= 0);
  }

 private:
  std::lock_guard<std::recursive_mutex> hold_;
};

// The library's error stack as one line, innermost reason first; clears it.
std::string error_text() {
  std::vector<std::string> reasons;
  const auto collect = [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
    if (entry->desc != nullptr && *entry->desc != '\0') {
      static_cast<std::vector<std::string>*>(out)->emplace_back(entry->desc);
    }
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect, &reasons);
  H5Eclear2(H5E_DEFAULT);
  if (reasons.empty()) return "no reason given";
  return reasons.size() == 1 ? reasons[0] : fmt::format("{} ({})", reasons.front(), reasons.back());
}

template <class Result>
Result check(Result result, const char* call, const std::string& path) {
  if (result < 0) {
    throw base::SystemError(fmt::format("{}({})", call, path), static_cast<long>(result),
                            error_text());
  }
  return result;
}

// Calls an HDF5 function; a failure is a SystemError with its name, the file and the reason.
#define TRY_HDF5(function, path, ...) check(function(__VA_ARGS__), #function, path)

hid_t file_type(Type type) {
  switch (type) {
    case Type::kUint8:
      return H5T_STD_U8LE;
    case Type::kUint16:
      return H5T_STD_U16LE;
    case Type::kUint32:
      return H5T_STD_U32LE;
    case Type::kInt32:
      return H5T_STD_I32LE;
    case Type::kInt64:
      return H5T_STD_I64LE;
    case Type::kUint64:
      return H5T_STD_U64LE;
    case Type::kFloat32:
      return H5T_IEEE_F32LE;
  }
  throw base::Bug("unknown storage type");
}

// What a type of a file is, for messages.
std::string describe(hid_t type) {
  const size_t bits = H5Tget_size(type) * 8;
  const char* order = H5Tget_order(type) == H5T_ORDER_BE && bits > 8 ? " (big-endian)" : "";
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return fmt::format("{}int{}{}", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits, order);
    case H5T_FLOAT:
      return fmt::format("float{}{}", bits, order);
    case H5T_STRING:
      return "text";
    case H5T_ENUM:
      return "enumeration";
    case H5T_COMPOUND:
      return "compound";
    case H5T_VLEN:
      return "variable-length";
    default:
      return "another class of type";
  }
}

constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";

// The size that a superblock at the file's start states (HDF5 File Format Specification 3.0,
// section II.A), or -1 where it cannot be told.
int64_t stated_size(std::span<const unsigned char> head) {
  size_t at = 0;
  size_t offset_bytes = 0;
  if (head.size() < 52) return -1;
  const unsigned version = head[8];
  if (version <= 1) {
    offset_bytes = head[13];
    at = (version == 0 ? 24 : 28) + 2 * offset_bytes;
  } else if (version <= 3) {
    offset_bytes = head[9];
    at = 12 + 2 * offset_bytes;
  }
  if (offset_bytes != 8) return -1;
  uint64_t size = 0;
  for (size_t i = 0; i < 8; ++i) size |= static_cast<uint64_t>(head[at + i]) << (8 * i);
  return size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
             ? -1
             : static_cast<int64_t>(size);
}

// Throws UserError where the file is plainly not a whole HDF5 file, before the library sees it.
void recognise(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    base::fail_user("{}: cannot be read: {}. An HDF5 file was expected.", path,
                    std::strerror(errno));
  }
  if (S_ISDIR(status.st_mode)) {
    base::fail_user("{}: is a folder, an HDF5 file was expected.", path);
  }
  const base::File file = base::File::open_read(path);
  const int64_t size = file.size();
  if (size == 0) base::fail_user("{}: is empty (0 bytes), an HDF5 file was expected.", path);
  std::array<unsigned char, 64> head{};
  const auto known = std::span(head).first(static_cast<size_t>(std::min<int64_t>(size, 64)));
  file.read_at(0, std::as_writable_bytes(known));
  const std::string_view text(reinterpret_cast<const char*>(head.data()), known.size());
  if (text.starts_with("version https://git-lfs")) {
    base::fail_user(
        "{}: is a Git LFS pointer of {} bytes, not the data itself. Run `git lfs pull` in its "
        "repository.",
        path, size);
  }
  if (text.starts_with(kSignature)) {
    const int64_t expected = stated_size(known);
    if (expected > size) {
      base::fail_user("{}: is truncated: {} bytes found, {} expected. Copy or make it again.", path,
                      size, expected);
    }
    return;
  }
  // A file may begin with a block of the user's own of 512, 1024, 2048, ... bytes.
  for (int64_t at = 512; at + 8 <= size; at *= 2) {
    std::array<char, 8> signature{};
    file.read_at(at, std::as_writable_bytes(std::span(signature)));
    if (std::string_view(signature.data(), 8) == kSignature) return;
  }
  base::fail_user("{}: is not an HDF5 file ({} bytes, no HDF5 signature).", path, size);
}

Handle make_properties(hid_t kind, const std::string& path) {
  return {TRY_HDF5(H5Pcreate, path, kind), H5Pclose};
}

std::vector<hsize_t> extents(const std::vector<int64_t>& shape) {
  RONDO_CHECK(!shape.empty() && shape.size() <= H5S_MAX_RANK);
  std::vector<hsize_t> result;
  for (const int64_t extent : shape) {
    RONDO_CHECK(extent >= 0, "a dimension of {}", extent);
    result.push_back(static_cast<hsize_t>(extent));
  }
  return result;
}

Handle make_space(const std::vector<int64_t>& shape, const std::string& path) {
  const std::vector<hsize_t> size = extents(shape);
  return {TRY_HDF5(H5Screate_simple, path, static_cast<int>(size.size()), size.data(), nullptr),
          H5Sclose};
}

Handle make_link_properties(const std::string& path) {
  Handle links = make_properties(H5P_LINK_CREATE, path);
  TRY_HDF5(H5Pset_create_intermediate_group, path, links.get(), 1U);
  return links;
}

using Box =
    std::function<void(const std::vector<hsize_t>& start, const std::vector<hsize_t>& size)>;

// Cuts elements [begin, end) of a row-major array into boxes, in order: at most two per dimension
// less one.
void cut_into_boxes(const std::vector<hsize_t>& shape, size_t dim, std::vector<hsize_t> start,
                    std::vector<hsize_t> size, hsize_t begin, hsize_t end, const Box& emit) {
  if (begin >= end) return;
  hsize_t inner = 1;
  for (size_t i = dim + 1; i < shape.size(); ++i) inner *= shape[i];
  const auto rows = [&](hsize_t first, hsize_t count) {
    if (count == 0) return;
    start[dim] = first;
    size[dim] = count;
    for (size_t i = dim + 1; i < shape.size(); ++i) {
      start[i] = 0;
      size[i] = shape[i];
    }
    emit(start, size);
  };
  const auto part_of_row = [&](hsize_t row, hsize_t from, hsize_t to) {
    start[dim] = row;
    size[dim] = 1;
    cut_into_boxes(shape, dim + 1, start, size, from, to, emit);
  };
  hsize_t first = begin / inner;
  const hsize_t last = end / inner;
  if (first == last) return part_of_row(first, begin % inner, end % inner);
  if (begin % inner != 0) part_of_row(first++, begin % inner, inner);
  rows(first, last - first);
  if (end % inner != 0) part_of_row(last, 0, end % inner);
}

}  // namespace

int64_t bytes_of(Type type) {
  switch (type) {
    case Type::kUint8:
      return 1;
    case Type::kUint16:
      return 2;
    case Type::kUint32:
    case Type::kInt32:
    case Type::kFloat32:
      return 4;
    case Type::kInt64:
    case Type::kUint64:
      return 8;
  }
  throw base::Bug("unknown storage type");
}

std::string_view name_of(Type type) {
  constexpr std::array<std::string_view, 7> kNames = {"uint8", "uint16", "uint32", "int32",
                                                      "int64", "uint64", "float32"};
  return kNames.at(static_cast<size_t>(type));
}

template <>
Type type_of<uint8_t>() {
  return Type::kUint8;
}
template <>
Type type_of<uint16_t>() {
  return Type::kUint16;
}
template <>
Type type_of<uint32_t>() {
  return Type::kUint32;
}
template <>
Type type_of<int32_t>() {
  return Type::kInt32;
}
template <>
Type type_of<int64_t>() {
  return Type::kInt64;
}
template <>
Type type_of<uint64_t>() {
  return Type::kUint64;
}
template <>
Type type_of<float>() {
  return Type::kFloat32;
}

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

Handle::~Handle() { close(); }

Handle::Handle(Handle&& other) noexcept
    : id_(std::exchange(other.id_, H5I_INVALID_HID)), closer_(other.closer_) {}

Handle& Handle::operator=(Handle&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(closer_, other.closer_);
  return *this;
}

herr_t Handle::close() {
  const hid_t id = std::exchange(id_, H5I_INVALID_HID);
  if (id < 0) return 0;
  const Lock lock;
  return closer_(id);
}

Hdf5File Hdf5File::open_read(const std::string& path) {
  recognise(path);
  const Lock lock;
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (id < 0) base::fail_user("{}: cannot be opened as HDF5: {}.", path, error_text());
  return {Handle(id, H5Fclose), path};
}

Hdf5File Hdf5File::create(const std::string& path) {
  const Lock lock;
  const Handle creation = make_properties(H5P_FILE_CREATE, path);
  TRY_HDF5(H5Pset_obj_track_times, path, creation.get(), false);
  const Handle access = make_properties(H5P_FILE_ACCESS, path);
  TRY_HDF5(H5Pset_alignment, path, access.get(), 512, 4096);
  TRY_HDF5(H5Pset_fclose_degree, path, access.get(), H5F_CLOSE_STRONG);
  return {
      Handle(TRY_HDF5(H5Fcreate, path, path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()),
             H5Fclose),
      path};
}

bool Hdf5File::has(const std::string& name) const {
  const Lock lock;
  // H5Lexists fails where an intermediate group is missing, so each is asked for in turn.
  for (size_t at = name.find_first_not_of('/'); at < name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    if (H5Lexists(file_.get(), name.substr(0, end).c_str(), H5P_DEFAULT) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      return false;
    }
    at = end + 1;
  }
  return true;
}

void Hdf5File::write_attribute(const std::string& name, hid_t type, const void* value) {
  if (has_attribute(name)) TRY_HDF5(H5Adelete, path_, file_.get(), name.c_str());
  const Handle space(TRY_HDF5(H5Screate, path_, H5S_SCALAR), H5Sclose);
  const Handle attribute(TRY_HDF5(H5Acreate2, path_, file_.get(), name.c_str(), type, space.get(),
                                  H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  TRY_HDF5(H5Awrite, path_, attribute.get(), type, value);
}

void Hdf5File::set_attribute(const std::string& name, std::string_view text) {
  const Lock lock;
  RONDO_CHECK(text.find('\0') == std::string_view::npos, "attribute {} holds a zero byte", name);
  const Handle type(TRY_HDF5(H5Tcopy, path_, H5T_C_S1), H5Tclose);
  TRY_HDF5(H5Tset_size, path_, type.get(), H5T_VARIABLE);
  TRY_HDF5(H5Tset_cset, path_, type.get(), H5T_CSET_UTF8);
  const std::string ended(text);
  const char* value = ended.c_str();
  write_attribute(name, type.get(), &value);
}

void Hdf5File::set_attribute(const std::string& name, int64_t value) {
  const Lock lock;
  write_attribute(name, H5T_STD_I64LE, &value);
}

bool Hdf5File::has_attribute(const std::string& name) const {
  const Lock lock;
  return TRY_HDF5(H5Aexists, path_, file_.get(), name.c_str()) > 0;
}

Handle Hdf5File::open_attribute(const std::string& name) const {
  if (!has_attribute(name)) base::fail_user("{}: attribute {} is missing.", path_, name);
  Handle attribute(H5Aopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Aclose);
  if (attribute.get() < 0) {
    base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, error_text());
  }
  const Handle space(TRY_HDF5(H5Aget_space, path_, attribute.get()), H5Sclose);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) {
    base::fail_user("{}: attribute {} is not a single value.", path_, name);
  }
  return attribute;
}

std::string Hdf5File::text_attribute(const std::string& name) const {
  const Lock lock;
  const Handle attribute = open_attribute(name);
  const Handle type(TRY_HDF5(H5Aget_type, path_, attribute.get()), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_STRING) {
    base::fail_user("{}: attribute {} is {}, text was expected.", path_, name,
                    describe(type.get()));
  }
  if (TRY_HDF5(H5Tis_variable_str, path_, type.get()) > 0) {
    char* value = nullptr;
    if (H5Aread(attribute.get(), type.get(), &value) < 0) {
      base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, error_text());
    }
    const std::string text = value == nullptr ? "" : value;
    H5free_memory(value);
    return text;
  }
  std::string text(H5Tget_size(type.get()), '\0');
  if (H5Aread(attribute.get(), type.get(), text.data()) < 0) {
    base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, error_text());
  }
  if (H5Tget_strpad(type.get()) == H5T_STR_SPACEPAD) {
    text.erase(text.find_last_not_of(' ') + 1);
  }
  return text.substr(0, text.find('\0'));
}

int64_t Hdf5File::int_attribute(const std::string& name) const {
  const Lock lock;
  const Handle attribute = open_attribute(name);
  const Handle type(TRY_HDF5(H5Aget_type, path_, attribute.get()), H5Tclose);
  if (TRY_HDF5(H5Tequal, path_, type.get(), H5T_STD_I64LE) <= 0) {
    base::fail_user("{}: attribute {} is {}, int64 was expected.", path_, name,
                    describe(type.get()));
  }
  int64_t value = 0;
  if (H5Aread(attribute.get(), H5T_STD_I64LE, &value) < 0) {
    base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, error_text());
  }
  return value;
}

Handle Hdf5File::open_dataset(const std::string& name) const {
  if (!has(name)) base::fail_user("{}: dataset {} is missing.", path_, name);
  Handle dataset(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset.get() < 0) {
    base::fail_user("{}: {} cannot be opened as a dataset: {}.", path_, name, error_text());
  }
  return dataset;
}

std::vector<int64_t> Hdf5File::checked_shape(const Handle& dataset, const std::string& name,
                                             Type type) const {
  const Handle stored(TRY_HDF5(H5Dget_type, path_, dataset.get()), H5Tclose);
  if (TRY_HDF5(H5Tequal, path_, stored.get(), file_type(type)) <= 0) {
    base::fail_user("{}: dataset {} has the wrong dtype: {} found, {} expected.", path_, name,
                    describe(stored.get()), name_of(type));
  }
  const Handle properties(TRY_HDF5(H5Dget_create_plist, path_, dataset.get()), H5Pclose);
  const H5D_layout_t layout = H5Pget_layout(properties.get());
  if (layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED) {
    base::fail_user("{}: dataset {} must be stored contiguous or chunked.", path_, name);
  }
  if (TRY_HDF5(H5Pget_nfilters, path_, properties.get()) != 0) {
    base::fail_user(
        "{}: dataset {} is stored through a filter (compression or checksum). Write it "
        "without filters.",
        path_, name);
  }
  if (layout == H5D_CONTIGUOUS && TRY_HDF5(H5Pget_external_count, path_, properties.get()) != 0) {
    base::fail_user("{}: dataset {} keeps its data in another file.", path_, name);
  }
  const Handle space(TRY_HDF5(H5Dget_space, path_, dataset.get()), H5Sclose);
  const int dimensions = TRY_HDF5(H5Sget_simple_extent_ndims, path_, space.get());
  if (dimensions == 0) base::fail_user("{}: dataset {} is a single value.", path_, name);
  std::vector<hsize_t> size(static_cast<size_t>(dimensions));
  TRY_HDF5(H5Sget_simple_extent_dims, path_, space.get(), size.data(), nullptr);
  // Corrupted extents must not become a giant allocation, so they are held against what is stored.
  const hsize_t stored_bytes = H5Dget_storage_size(dataset.get());
  hsize_t bytes = static_cast<hsize_t>(bytes_of(type));
  bool overflow = false;
  for (const hsize_t extent : size) {
    overflow = __builtin_mul_overflow(bytes, extent, &bytes) || overflow;
  }
  if (overflow || bytes > stored_bytes) {
    base::fail_user("{}: dataset {} of shape ({}) is not stored in full: {} bytes found.", path_,
                    name, fmt::join(size, ", "), stored_bytes);
  }
  return {size.begin(), size.end()};
}

std::vector<int64_t> Hdf5File::shape_of(const std::string& name, Type type) const {
  const Lock lock;
  return checked_shape(open_dataset(name), name, type);
}

std::vector<int64_t> Hdf5File::expect(const std::string& name, Type type, int dimensions) const {
  std::vector<int64_t> shape = shape_of(name, type);
  if (static_cast<int>(shape.size()) != dimensions) {
    base::fail_user("{}: dataset {} has the shape ({}), {} {} expected.", path_, name,
                    fmt::join(shape, ", "), dimensions,
                    dimensions == 1 ? "dimension was" : "dimensions were");
  }
  return shape;
}

void Hdf5File::read_raw(const std::string& name, Type type, int64_t begin, int64_t count,
                        void* out) const {
  const Lock lock;
  const Handle dataset = open_dataset(name);
  const std::vector<int64_t> shape = checked_shape(dataset, name, type);
  if (begin < 0 || count < 0 || begin > shape[0] || count > shape[0] - begin) {
    base::fail_user("{}: dataset {} has {} rows, rows {} to {} were asked for.", path_, name,
                    shape[0], begin, begin + count);
  }
  std::vector<int64_t> block_shape = shape;
  block_shape[0] = count;
  if (element_count(block_shape) == 0) return;
  std::vector<hsize_t> start(shape.size(), 0);
  start[0] = static_cast<hsize_t>(begin);
  const std::vector<hsize_t> size = extents(block_shape);
  const Handle memory = make_space(block_shape, path_);
  const Handle space(TRY_HDF5(H5Dget_space, path_, dataset.get()), H5Sclose);
  TRY_HDF5(H5Sselect_hyperslab, path_, space.get(), H5S_SELECT_SET, start.data(), nullptr,
           size.data(), nullptr);
  if (H5Dread(dataset.get(), file_type(type), memory.get(), space.get(), H5P_DEFAULT, out) < 0) {
    base::fail_user("{}: rows {} to {} of dataset {} cannot be read: {}.", path_, begin,
                    begin + count, name, error_text());
  }
}

int64_t Hdf5File::data_offset(const std::string& name, Type type) const {
  const Lock lock;
  const Handle dataset = open_dataset(name);
  checked_shape(dataset, name, type);
  const haddr_t offset = H5Dget_offset(dataset.get());
  H5Eclear2(H5E_DEFAULT);
  return offset == HADDR_UNDEF ? -1 : static_cast<int64_t>(offset);
}

int64_t Hdf5File::create_dataset(const std::string& name, Type type,
                                 const std::vector<int64_t>& shape) {
  const Lock lock;
  const Handle space = make_space(shape, path_);
  const Handle properties = make_properties(H5P_DATASET_CREATE, path_);
  TRY_HDF5(H5Pset_layout, path_, properties.get(), H5D_CONTIGUOUS);
  TRY_HDF5(H5Pset_alloc_time, path_, properties.get(), H5D_ALLOC_TIME_EARLY);
  TRY_HDF5(H5Pset_fill_time, path_, properties.get(), H5D_FILL_TIME_NEVER);
  TRY_HDF5(H5Pset_obj_track_times, path_, properties.get(), false);
  const Handle links = make_link_properties(path_);
  const Handle dataset(TRY_HDF5(H5Dcreate2, path_, file_.get(), name.c_str(), file_type(type),
                                space.get(), links.get(), properties.get(), H5P_DEFAULT),
                       H5Dclose);
  if (element_count(shape) == 0) return 0;
  const haddr_t offset = H5Dget_offset(dataset.get());
  if (offset == HADDR_UNDEF) throw base::SystemError("H5Dget_offset", -1, path_ + ": " + name);
  return static_cast<int64_t>(offset);
}

void Hdf5File::write_raw(const std::string& name, Type type, int64_t count, const void* values) {
  const Lock lock;
  create_dataset(name, type, {count});
  if (count == 0) return;
  const Handle dataset = open_dataset(name);
  TRY_HDF5(H5Dwrite, path_, dataset.get(), file_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
}

void Hdf5File::create_virtual(const std::string& name, const std::vector<int64_t>& shape,
                              const std::vector<VirtualPiece>& pieces) {
  const Lock lock;
  const std::vector<hsize_t> target_size = extents(shape);
  const int64_t total = element_count(shape);
  const Handle space = make_space(shape, path_);
  const Handle properties = make_properties(H5P_DATASET_CREATE, path_);
  const float fill = std::numeric_limits<float>::quiet_NaN();
  TRY_HDF5(H5Pset_fill_value, path_, properties.get(), H5T_NATIVE_FLOAT, &fill);
  TRY_HDF5(H5Pset_obj_track_times, path_, properties.get(), false);
  for (const VirtualPiece& piece : pieces) {
    RONDO_CHECK(piece.count >= 1 && piece.target_begin >= 0 && piece.source_begin >= 0 &&
                    piece.target_begin + piece.count <= total &&
                    piece.source_begin + piece.count <= piece.source_total,
                "virtual dataset {}: piece of {} is out of range", name, piece.file);
    const Handle source = make_space({piece.source_total}, path_);
    auto source_begin = static_cast<hsize_t>(piece.source_begin);
    const auto map_box = [&](const std::vector<hsize_t>& start, const std::vector<hsize_t>& size) {
      hsize_t count = 1;
      for (const hsize_t extent : size) count *= extent;
      TRY_HDF5(H5Sselect_hyperslab, path_, space.get(), H5S_SELECT_SET, start.data(), nullptr,
               size.data(), nullptr);
      TRY_HDF5(H5Sselect_hyperslab, path_, source.get(), H5S_SELECT_SET, &source_begin, nullptr,
               &count, nullptr);
      TRY_HDF5(H5Pset_virtual, path_, properties.get(), space.get(), piece.file.c_str(),
               piece.dataset.c_str(), source.get());
      source_begin += count;
    };
    cut_into_boxes(target_size, 0, std::vector<hsize_t>(shape.size(), 0),
                   std::vector<hsize_t>(shape.size(), 1), static_cast<hsize_t>(piece.target_begin),
                   static_cast<hsize_t>(piece.target_begin + piece.count), map_box);
  }
  TRY_HDF5(H5Sselect_all, path_, space.get());
  const Handle links = make_link_properties(path_);
  const Handle dataset(TRY_HDF5(H5Dcreate2, path_, file_.get(), name.c_str(), H5T_IEEE_F32LE,
                                space.get(), links.get(), properties.get(), H5P_DEFAULT),
                       H5Dclose);
}

void Hdf5File::close() {
  const Lock lock;
  if (file_.get() < 0) return;
  TRY_HDF5(H5Fflush, path_, file_.get(), H5F_SCOPE_GLOBAL);
  check(file_.close(), "H5Fclose", path_);
}

std::string hdf5_version() {
  const Lock lock;
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  TRY_HDF5(H5get_libversion, "", &major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace rondo::storage
