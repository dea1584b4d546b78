#include "kernels/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/buffers.hpp"

namespace rondo::kernels::reference {
namespace {

double wide(float value) { return static_cast<double>(value); }
float narrow(double value) { return static_cast<float>(value); }

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

std::vector<double> zeros(int64_t n) { return std::vector<double>(static_cast<size_t>(n), 0.0); }

}  // namespace

void rms_norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
              at::Tensor& rstd_t) {
  const int64_t d = weight_d.numel();
  const float* x = input<float>(x_td);
  const float* weight = input<float>(weight_d);
  for (int64_t row = 0; row < rstd_t.numel(); ++row) {
    double squares = 0;
    for (int64_t i = 0; i < d; ++i) squares += wide(x[row * d + i]) * wide(x[row * d + i]);
    const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(d) + eps);
    output(rstd_t)[row] = narrow(rstd);
    for (int64_t i = 0; i < d; ++i) {
      output(out_td)[row * d + i] = narrow(wide(x[row * d + i]) * rstd * wide(weight[i]));
    }
  }
}

void add_rms_norm(const at::Tensor& x_td, const at::Tensor& residual_td, const at::Tensor& weight_d,
                  double eps, at::Tensor& sum_td, at::Tensor& out_td, at::Tensor& rstd_t) {
  for (int64_t i = 0; i < x_td.numel(); ++i) {
    output(sum_td)[i] = input<float>(x_td)[i] + input<float>(residual_td)[i];
  }
  rms_norm(sum_td, weight_d, eps, out_td, rstd_t);
}

void rms_norm_backward(const at::Tensor& dout_td, const at::Tensor& x_td,
                       const at::Tensor& weight_d, const at::Tensor& rstd_t, bool accumulate,
                       at::Tensor& dx_td, at::Tensor& dweight_d) {
  const int64_t d = weight_d.numel();
  const float* dout = input<float>(dout_td);
  const float* x = input<float>(x_td);
  const float* weight = input<float>(weight_d);
  std::vector<double> dweight = zeros(d);
  for (int64_t row = 0; row < rstd_t.numel(); ++row) {
    const double rstd = wide(input<float>(rstd_t)[row]);
    double dot = 0;
    for (int64_t i = 0; i < d; ++i) {
      const int64_t at = row * d + i;
      dot += wide(dout[at]) * wide(weight[i]) * wide(x[at]);
      dweight[static_cast<size_t>(i)] += wide(dout[at]) * wide(x[at]) * rstd;
    }
    for (int64_t i = 0; i < d; ++i) {
      const int64_t at = row * d + i;
      const double dx = rstd * wide(dout[at]) * wide(weight[i]) -
                        rstd * rstd * rstd * dot / static_cast<double>(d) * wide(x[at]);
      output(dx_td)[at] = narrow((accumulate ? wide(output(dx_td)[at]) : 0.0) + dx);
    }
  }
  for (int64_t i = 0; i < d; ++i) {
    output(dweight_d)[i] = narrow(wide(output(dweight_d)[i]) + dweight[static_cast<size_t>(i)]);
  }
}

void rope(at::Tensor& x, int64_t row_stride, int64_t heads, int64_t head_width,
          const at::Tensor& positions_t, const at::Tensor& cos, const at::Tensor& sin,
          bool inverse) {
  const int64_t half = head_width / 2;
  for (int64_t row = 0; row < positions_t.numel(); ++row) {
    const int64_t position = input<int32_t>(positions_t)[row];
    for (int64_t head = 0; head < heads; ++head) {
      float* values = x.mutable_data_ptr<float>() + row * row_stride + head * head_width;
      for (int64_t i = 0; i < half; ++i) {
        const double c = wide(input<float>(cos)[position * half + i]);
        const double s = wide(input<float>(sin)[position * half + i]) * (inverse ? -1.0 : 1.0);
        const double a = wide(values[i]);
        const double b = wide(values[i + half]);
        values[i] = narrow(a * c - b * s);
        values[i + half] = narrow(b * c + a * s);
      }
    }
  }
}

void swiglu(const at::Tensor& gate_up_t2f, at::Tensor& out_tf) {
  const int64_t f = out_tf.size(1);
  for (int64_t row = 0; row < out_tf.size(0); ++row) {
    for (int64_t i = 0; i < f; ++i) {
      const double gate = wide(input<float>(gate_up_t2f)[row * 2 * f + i]);
      const double up = wide(input<float>(gate_up_t2f)[row * 2 * f + f + i]);
      output(out_tf)[row * f + i] = narrow(gate * sigmoid(gate) * up);
    }
  }
}

void swiglu_backward(const at::Tensor& dout_tf, at::Tensor& gate_up_t2f) {
  const int64_t f = dout_tf.size(1);
  for (int64_t row = 0; row < dout_tf.size(0); ++row) {
    for (int64_t i = 0; i < f; ++i) {
      float& gate = output(gate_up_t2f)[row * 2 * f + i];
      float& up = output(gate_up_t2f)[row * 2 * f + f + i];
      const double g = wide(gate);
      const double dout = wide(input<float>(dout_tf)[row * f + i]);
      const double s = sigmoid(g);
      gate = narrow(dout * wide(up) * (s + g * s * (1.0 - s)));
      up = narrow(dout * g * s);
    }
  }
}

HeadLoss head_loss(const at::Tensor& x_td, const at::Tensor& head_vd, const at::Tensor& rows,
                   const at::Tensor& labels, const at::Tensor& weights, double scale,
                   at::Tensor* dx_td, at::Tensor* dhead_vd, RowLosses* each) {
  const int64_t d = x_td.size(1);
  const int64_t v = head_vd.size(0);
  const float* head = input<float>(head_vd);
  std::vector<double> dx = zeros(x_td.numel());
  std::vector<double> dhead = zeros(head_vd.numel());
  HeadLoss result;
  for (int64_t i = 0; i < rows.numel(); ++i) {
    const int64_t row = input<int64_t>(rows)[i];
    const int64_t label = input<int64_t>(labels)[i];
    const double weight = wide(input<float>(weights)[i]);
    const float* x = input<float>(x_td) + row * d;
    std::vector<double> logits = zeros(v);
    for (int64_t id = 0; id < v; ++id) {
      for (int64_t j = 0; j < d; ++j) {
        logits[static_cast<size_t>(id)] += wide(x[j]) * wide(head[id * d + j]);
      }
    }
    const auto most = std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit - *most);
    const double loss = std::log(sum) + *most - logits[static_cast<size_t>(label)];
    result.weighted_loss += weight * loss;
    result.weight += weight;
    const bool correct = most - logits.begin() == label;
    result.correct += correct ? 1 : 0;
    if (each != nullptr) {
      output(each->losses_n)[i] = narrow(loss);
      output(each->correct_n)[i] = correct ? 1 : 0;
    }
    for (int64_t id = 0; id < v; ++id) {
      const double softmax = std::exp(logits[static_cast<size_t>(id)] - *most) / sum;
      const double dlogit = scale * weight * (softmax - (id == label ? 1.0 : 0.0));
      for (int64_t j = 0; j < d; ++j) {
        dx[static_cast<size_t>(row * d + j)] += dlogit * wide(head[id * d + j]);
        dhead[static_cast<size_t>(id * d + j)] += dlogit * wide(x[j]);
      }
    }
  }
  if (dx_td != nullptr) {
    for (int64_t i = 0; i < dx_td->numel(); ++i) {
      output(*dx_td)[i] = narrow(dx[static_cast<size_t>(i)]);
    }
    for (int64_t i = 0; i < dhead_vd->numel(); ++i) {
      float& sum = output(*dhead_vd)[i];
      sum = narrow(wide(sum) + dhead[static_cast<size_t>(i)]);
    }
  }
  return result;
}

void embed(const at::Tensor& table_vd, const at::Tensor& tokens_t, at::Tensor& out_td,
           int64_t first_id) {
  const int64_t d = table_vd.size(1);
  for (int64_t row = 0; row < tokens_t.numel(); ++row) {
    const int64_t id = input<int32_t>(tokens_t)[row] - first_id;
    const bool here = id >= 0 && id < table_vd.size(0);
    for (int64_t i = 0; i < d; ++i) {
      output(out_td)[row * d + i] = here ? input<float>(table_vd)[id * d + i] : 0.0F;
    }
  }
}

void embed_backward(const at::Tensor& dout_td, const at::Tensor& tokens_t, at::Tensor& dtable_vd,
                    int64_t first_id) {
  const int64_t d = dtable_vd.size(1);
  std::vector<double> sum = zeros(dtable_vd.numel());
  for (int64_t row = 0; row < tokens_t.numel(); ++row) {
    const int64_t id = input<int32_t>(tokens_t)[row] - first_id;
    if (id < 0 || id >= dtable_vd.size(0)) continue;
    for (int64_t i = 0; i < d; ++i) {
      sum[static_cast<size_t>(id * d + i)] += wide(input<float>(dout_td)[row * d + i]);
    }
  }
  for (int64_t i = 0; i < dtable_vd.numel(); ++i) {
    output(dtable_vd)[i] = narrow(wide(output(dtable_vd)[i]) + sum[static_cast<size_t>(i)]);
  }
}

void adamw(const AdamStep& step, const at::Tensor& grads, at::Tensor& weights, at::Tensor& m,
           at::Tensor& v) {
  const double bias1 = 1.0 - std::pow(step.beta1, static_cast<double>(step.step));
  const double bias2 = 1.0 - std::pow(step.beta2, static_cast<double>(step.step));
  for (int64_t i = 0; i < weights.numel(); ++i) {
    const double gradient = wide(input<float>(grads)[i]) * step.grad_scale;
    const double first = step.beta1 * wide(output(m)[i]) + (1.0 - step.beta1) * gradient;
    const double second =
        step.beta2 * wide(output(v)[i]) + (1.0 - step.beta2) * gradient * gradient;
    const double decayed = wide(output(weights)[i]) * (1.0 - step.lr * step.weight_decay);
    const double denominator = std::sqrt(second) / std::sqrt(bias2) + step.eps;
    output(m)[i] = narrow(first);
    output(v)[i] = narrow(second);
    output(weights)[i] = narrow(decayed - step.lr / bias1 * first / denominator);
  }
}

double squared_norm(const at::Tensor& flat) {
  double sum = 0;
  for (int64_t i = 0; i < flat.numel(); ++i) {
    sum += wide(input<float>(flat)[i]) * wide(input<float>(flat)[i]);
  }
  return sum;
}

}  // namespace rondo::kernels::reference
