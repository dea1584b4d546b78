#include "comm/group.hpp"

#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "base/error.hpp"

namespace rondo::comm {

std::string_view name_of(Purpose purpose) {
  switch (purpose) {
    case Purpose::kControl:
      return "control";
    case Purpose::kGradients:
      return "gradients";
    case Purpose::kWeights:
      return "weights";
    case Purpose::kActivations:
      return "activations";
    case Purpose::kMetrics:
      return "metrics";
    case Purpose::kOther:
      return "other";
  }
  throw base::Bug("unknown purpose");
}

Work& Work::operator=(Work&& other) noexcept {
  std::swap(pending_, other.pending_);
  std::swap(traffic_, other.traffic_);
  return *this;
}

Work::~Work() {
  if (pending_ == nullptr) return;
  // While an exception unwinds, the run ends anyway and the peers may never arrive.
  if (std::uncaught_exceptions() > 0) return;
  std::fputs("bug in rondo: a collective was started and never waited for\n", stderr);
  std::abort();
}

void Work::wait() {
  RONDO_CHECK(pending_ != nullptr, "a Work is waited for exactly once");
  const auto pending = std::move(pending_);
  const auto start = std::chrono::steady_clock::now();
  pending->wait();
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - start;
  traffic_->waited_s += waited.count();
}

namespace {

void check_tensor(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.defined() && tensor.is_contiguous(), "collectives take contiguous tensors");
}

}  // namespace

Work Group::counted(Pending pending, const at::Tensor& larger, Purpose purpose) {
  Traffic& traffic = traffic_[static_cast<size_t>(purpose)];
  ++traffic.calls;
  traffic.bytes += larger.numel() * larger.element_size();
  return {std::move(pending), &traffic};
}

Work Group::all_sum(at::Tensor tensor, Purpose purpose) {
  check_tensor(tensor);
  return counted(start_all_reduce(tensor, false), tensor, purpose);
}

Work Group::all_max(at::Tensor tensor, Purpose purpose) {
  check_tensor(tensor);
  return counted(start_all_reduce(tensor, true), tensor, purpose);
}

Work Group::sum_scatter(at::Tensor out, at::Tensor in, Purpose purpose) {
  check_tensor(out);
  check_tensor(in);
  RONDO_CHECK(in.numel() == out.numel() * size() && in.scalar_type() == out.scalar_type());
  return counted(start_sum_scatter(out, in), in, purpose);
}

Work Group::all_gather(at::Tensor out, at::Tensor in, Purpose purpose) {
  check_tensor(out);
  check_tensor(in);
  RONDO_CHECK(out.numel() == in.numel() * size() && in.scalar_type() == out.scalar_type());
  return counted(start_all_gather(out, in), out, purpose);
}

Work Group::broadcast(at::Tensor tensor, int root, Purpose purpose) {
  check_tensor(tensor);
  RONDO_CHECK(root >= 0 && root < size());
  return counted(start_broadcast(tensor, root), tensor, purpose);
}

Work Group::all_to_all(at::Tensor out, at::Tensor in, Purpose purpose) {
  check_tensor(out);
  check_tensor(in);
  RONDO_CHECK(out.numel() == in.numel() && in.numel() % size() == 0 &&
              in.scalar_type() == out.scalar_type());
  return counted(start_all_to_all(out, in), in, purpose);
}

void Group::barrier() { all_sum(at::zeros({1}, at::kInt), Purpose::kControl).wait(); }

}  // namespace rondo::comm
