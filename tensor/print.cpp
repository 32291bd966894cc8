#include <cmath>
#include <cstdio>
#include <string>

#include "tensor/ops.h"

namespace retnet {
namespace {

constexpr std::int64_t kEdge = 3;         // numbers shown at each end of an abbreviated dimension
constexpr std::int64_t kShownAll = 1000;  // tensors up to this size are shown whole

std::string number(double value, Dtype dtype) {
  if (std::isnan(value)) return "nan";  // printf has "-nan" for some
  char text[32];
  if (dtype == Dtype::i32) {
    std::snprintf(text, sizeof text, "%.0f", value);
  } else {
    std::snprintf(text, sizeof text, "%.5g", value);
  }
  return text;
}

/// Indices of a dimension that are shown; -1 stands for the gap.
std::vector<std::int64_t> shown(std::int64_t size, bool all) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < size; ++i) {
    if (!all && size > 2 * kEdge && i == kEdge) {
      indices.push_back(-1);
      i = size - kEdge;
    }
    indices.push_back(i);
  }
  return indices;
}

std::size_t widest(const Tensor& x, bool all) {
  if (x.rank() == 0) return number(x.item(), x.dtype()).size();
  std::size_t width = 0;
  for (const std::int64_t i : shown(x.dim(0), all))
    if (i >= 0) width = std::max(width, widest(select(x, 0, i), all));
  return width;
}

void print(std::ostream& out, const Tensor& x, std::size_t width, int depth, bool all) {
  if (x.rank() == 0) {
    const std::string text = number(x.item(), x.dtype());
    out << std::string(width - text.size(), ' ') << text;
    return;
  }
  out << '[';
  bool first = true;
  for (const std::int64_t i : shown(x.dim(0), all)) {
    if (!first) out << (x.rank() == 1 ? ", " : ",\n");
    if (!first && x.rank() > 1) out << std::string(static_cast<std::size_t>(depth + 1), ' ');
    first = false;
    if (i < 0) {
      out << "...";
    } else {
      print(out, select(x, 0, i), width, depth + 1, all);
    }
  }
  out << ']';
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Tensor& x) {
  if (!x.defined()) return out << "Tensor (undefined)";
  out << "Tensor " << x.shape() << ' ' << x.dtype();
  if (x.device() != Device::cpu) out << ' ' << x.device();
  out << '\n';
  // Without elements there may still be a million empty rows.
  const bool all = x.size() > 0 && x.size() <= kShownAll;
  const Tensor host = x.to(Device::cpu);
  print(out, host, host.size() ? widest(host, all) : 0, 0, all);
  return out;
}

}  // namespace retnet
