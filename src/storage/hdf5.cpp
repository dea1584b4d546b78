#include "storage/hdf5.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.hpp"
#include "storage/hdf5_call.hpp"
#include "storage/hdf5_recognise.hpp"

namespace rondo::storage {

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
    case Type::kFloat64:
      return 8;
  }
  throw base::Bug("unknown storage type");
}

std::string_view name_of(Type type) {
  constexpr std::array<std::string_view, 8> kNames = {"uint8", "uint16", "uint32",  "int32",
                                                      "int64", "uint64", "float32", "float64"};
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
template <>
Type type_of<double>() {
  return Type::kFloat64;
}

namespace {

// Called by the library before it opens the file that an external link names.
herr_t refuse_external_link(const char* /*parent_file*/, const char* /*parent_group*/,
                            const char* /*child_file*/, const char* /*child*/, unsigned* /*flags*/,
                            hid_t /*access*/, void* leads_out) {
  *static_cast<bool*>(leads_out) = true;
  return -1;
}

}  // namespace

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
  const Hdf5Lock lock;
  return closer_(id);
}

Hdf5File Hdf5File::open_read(const std::string& path) {
  recognise_hdf5(path);
  const Hdf5Lock lock;
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (id < 0) base::fail_user("{}: cannot be opened as HDF5: {}.", path, hdf5_error());
  return {Handle(id, H5Fclose), path};
}

Hdf5File Hdf5File::create(const std::string& path) {
  const Hdf5Lock lock;
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
  const Hdf5Lock lock;
  bool leads_out = false;
  const Handle access = make_properties(H5P_LINK_ACCESS, path_);
  TRY_HDF5(H5Pset_elink_cb, path_, access.get(), refuse_external_link, &leads_out);
  // H5Lexists fails where an intermediate group is missing, so each is asked for in turn.
  for (size_t at = name.find_first_not_of('/'); at < name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    if (H5Lexists(file_.get(), name.substr(0, end).c_str(), access.get()) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      return false;
    }
    at = end + 1;
  }
  return true;
}

std::vector<std::string> Hdf5File::names(const std::string& group) const {
  const Hdf5Lock lock;
  if (!has(group)) return {};
  const Handle opened(H5Gopen2(file_.get(), group.c_str(), H5P_DEFAULT), H5Gclose);
  if (opened.get() < 0) {
    base::fail_user("{}: {} cannot be opened as a group: {}.", path_, group, hdf5_error());
  }
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5L_info_t*, void* to) -> herr_t {
    static_cast<std::vector<std::string>*>(to)->emplace_back(name);
    return 0;
  };
  TRY_HDF5(H5Literate, path_, opened.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names);
  return names;
}

bool Hdf5File::can_hold(uint64_t bytes) const {
  hsize_t size = 0;
  TRY_HDF5(H5Fget_filesize, path_, file_.get(), &size);
  return bytes <= size;
}

Handle Hdf5File::open_dataset(const std::string& name) const {
  if (!has(name)) base::fail_user("{}: dataset {} is missing.", path_, name);
  bool leads_out = false;
  const Handle access = make_properties(H5P_DATASET_ACCESS, path_);
  TRY_HDF5(H5Pset_elink_cb, path_, access.get(), refuse_external_link, &leads_out);
  Handle dataset(H5Dopen2(file_.get(), name.c_str(), access.get()), H5Dclose);
  if (leads_out) {
    H5Eclear2(H5E_DEFAULT);
    base::fail_user("{}: dataset {} is a link to another file. Copy the data into this one.", path_,
                    name);
  }
  if (dataset.get() < 0) {
    base::fail_user("{}: {} cannot be opened as a dataset: {}.", path_, name, hdf5_error());
  }
  return dataset;
}

std::vector<int64_t> Hdf5File::checked_shape(const Handle& dataset, const std::string& name,
                                             Type type) const {
  const Handle stored(TRY_HDF5(H5Dget_type, path_, dataset.get()), H5Tclose);
  if (TRY_HDF5(H5Tequal, path_, stored.get(), file_type(type)) <= 0) {
    base::fail_user("{}: dataset {} has the wrong dtype: {} found, {} expected.", path_, name,
                    describe_type(stored.get()), name_of(type));
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
  // Corrupted extents must not become a giant allocation, so they are held against what is stored,
  // and that, which may be corrupted too, against the file.
  const hsize_t stored_bytes = H5Dget_storage_size(dataset.get());
  hsize_t bytes = static_cast<hsize_t>(bytes_of(type));
  bool overflow = false;
  for (const hsize_t extent : size) {
    overflow = __builtin_mul_overflow(bytes, extent, &bytes) || overflow;
  }
  if (overflow || bytes > stored_bytes || !can_hold(bytes)) {
    base::fail_user("{}: dataset {} of shape ({}) is not stored in full: {} bytes found.", path_,
                    name, fmt::join(size, ", "), stored_bytes);
  }
  return {size.begin(), size.end()};
}

std::vector<int64_t> Hdf5File::shape_of(const std::string& name, Type type) const {
  const Hdf5Lock lock;
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
  const Hdf5Lock lock;
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
                    begin + count, name, hdf5_error());
  }
}

int64_t Hdf5File::data_offset(const std::string& name, Type type) const {
  const Hdf5Lock lock;
  const Handle dataset = open_dataset(name);
  checked_shape(dataset, name, type);
  const haddr_t offset = H5Dget_offset(dataset.get());
  H5Eclear2(H5E_DEFAULT);
  return offset == HADDR_UNDEF ? -1 : static_cast<int64_t>(offset);
}

int64_t Hdf5File::create_dataset(const std::string& name, Type type,
                                 const std::vector<int64_t>& shape) {
  const Hdf5Lock lock;
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
  const Hdf5Lock lock;
  create_dataset(name, type, {count});
  if (count == 0) return;
  const Handle dataset = open_dataset(name);
  TRY_HDF5(H5Dwrite, path_, dataset.get(), file_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
}

void Hdf5File::close() {
  const Hdf5Lock lock;
  if (file_.get() < 0) return;
  TRY_HDF5(H5Fflush, path_, file_.get(), H5F_SCOPE_GLOBAL);
  check_hdf5(file_.close(), "H5Fclose", path_);
}

std::string hdf5_version() {
  const Hdf5Lock lock;
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  TRY_HDF5(H5get_libversion, "", &major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace rondo::storage
