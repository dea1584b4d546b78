// Attributes of the root group.
#include "base/error.hpp"
#include "storage/hdf5.hpp"
#include "storage/hdf5_call.hpp"

namespace rondo::storage {

void Hdf5File::write_attribute(const std::string& name, hid_t type, const void* value) {
  if (has_attribute(name)) TRY_HDF5(H5Adelete, path_, file_.get(), name.c_str());
  const Handle space(TRY_HDF5(H5Screate, path_, H5S_SCALAR), H5Sclose);
  const Handle attribute(TRY_HDF5(H5Acreate2, path_, file_.get(), name.c_str(), type, space.get(),
                                  H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  TRY_HDF5(H5Awrite, path_, attribute.get(), type, value);
}

void Hdf5File::set_attribute(const std::string& name, std::string_view text) {
  const Hdf5Lock lock;
  RONDO_CHECK(text.find('\0') == std::string_view::npos, "attribute {} holds a zero byte", name);
  const Handle type(TRY_HDF5(H5Tcopy, path_, H5T_C_S1), H5Tclose);
  TRY_HDF5(H5Tset_size, path_, type.get(), H5T_VARIABLE);
  TRY_HDF5(H5Tset_cset, path_, type.get(), H5T_CSET_UTF8);
  const std::string ended(text);
  const char* value = ended.c_str();
  write_attribute(name, type.get(), &value);
}

void Hdf5File::set_attribute(const std::string& name, int64_t value) {
  const Hdf5Lock lock;
  write_attribute(name, H5T_STD_I64LE, &value);
}

bool Hdf5File::has_attribute(const std::string& name) const {
  const Hdf5Lock lock;
  return TRY_HDF5(H5Aexists, path_, file_.get(), name.c_str()) > 0;
}

Handle Hdf5File::open_attribute(const std::string& name) const {
  if (!has_attribute(name)) base::fail_user("{}: attribute {} is missing.", path_, name);
  Handle attribute(H5Aopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Aclose);
  if (attribute.get() < 0) {
    base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, hdf5_error());
  }
  const Handle space(TRY_HDF5(H5Aget_space, path_, attribute.get()), H5Sclose);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) {
    base::fail_user("{}: attribute {} is not a single value.", path_, name);
  }
  return attribute;
}

std::string Hdf5File::text_attribute(const std::string& name) const {
  const Hdf5Lock lock;
  const Handle attribute = open_attribute(name);
  const Handle type(TRY_HDF5(H5Aget_type, path_, attribute.get()), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_STRING) {
    base::fail_user("{}: attribute {} is {}, text was expected.", path_, name,
                    describe_type(type.get()));
  }
  if (TRY_HDF5(H5Tis_variable_str, path_, type.get()) > 0) {
    char* value = nullptr;
    if (H5Aread(attribute.get(), type.get(), &value) < 0) {
      base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, hdf5_error());
    }
    const std::string text = value == nullptr ? "" : value;
    H5free_memory(value);
    return text;
  }
  const size_t bytes = H5Tget_size(type.get());
  if (!can_hold(bytes)) {
    base::fail_user("{}: attribute {} is damaged: {} bytes long, which the file is not.", path_,
                    name, bytes);
  }
  std::string text(bytes, '\0');
  if (H5Aread(attribute.get(), type.get(), text.data()) < 0) {
    base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, hdf5_error());
  }
  if (H5Tget_strpad(type.get()) == H5T_STR_SPACEPAD) {
    text.erase(text.find_last_not_of(' ') + 1);
  }
  return text.substr(0, text.find('\0'));
}

int64_t Hdf5File::int_attribute(const std::string& name) const {
  const Hdf5Lock lock;
  const Handle attribute = open_attribute(name);
  const Handle type(TRY_HDF5(H5Aget_type, path_, attribute.get()), H5Tclose);
  if (TRY_HDF5(H5Tequal, path_, type.get(), H5T_STD_I64LE) <= 0) {
    base::fail_user("{}: attribute {} is {}, int64 was expected.", path_, name,
                    describe_type(type.get()));
  }
  int64_t value = 0;
  if (H5Aread(attribute.get(), H5T_STD_I64LE, &value) < 0) {
    base::fail_user("{}: attribute {} cannot be read: {}.", path_, name, hdf5_error());
  }
  return value;
}

}  // namespace rondo::storage
