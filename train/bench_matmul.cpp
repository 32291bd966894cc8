#include <string>
#include <vector>

#include "kernels/cpu/matmul_steps.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"
#include "tensor/dispatch.h"
#include "tensor/ops.h"
#include "train/bench_sections.h"

namespace retnet {
namespace {

// C[m, n] = A[m, k] B[k, n]. A linear layer stores its weights transposed, and the gradient by them takes the
// layer's input transposed.
struct Case {
  const char* name;
  std::int64_t m, n, k;
  bool transpose_a, transpose_b;
};

constexpr Case kCases[] = {{"square", 64, 64, 64, false, false},
                           {"square", 128, 128, 128, false, false},
                           {"square", 256, 256, 256, false, false},
                           {"square", 512, 512, 512, false, false},
                           {"square", 1024, 1024, 1024, false, false},
                           {"square", 2048, 2048, 2048, false, false},
                           // preset small, 2048 or 4096 tokens
                           {"small, d to 4d", 2048, 1024, 256, false, true},
                           {"small, gradient by x", 2048, 256, 1024, false, false},
                           {"small, gradient by W", 1024, 256, 2048, true, false},
                           {"small, d to d", 2048, 256, 256, false, true},
                           {"small, d to 2d", 2048, 512, 256, false, true},
                           {"small, 2d to d", 2048, 256, 512, false, true},
                           {"small, q k v g", 4096, 1536, 256, false, true},
                           {"small, gradient by q k v g", 1536, 256, 4096, true, false},
                           // preset tiny, 4096 tokens
                           {"tiny, d to d", 4096, 128, 128, false, true},
                           {"tiny, d to 2d", 4096, 256, 128, false, true},
                           {"tiny, 2d to d", 4096, 128, 256, false, true},
                           {"tiny, q k v g", 4096, 768, 128, false, true},
                           {"tiny, gradient by W", 256, 128, 4096, true, false},
                           // retention, one head: scores, their product with the values, the state
                           {"small, scores of a window", 512, 512, 64, false, true},
                           {"small, scores times v", 512, 128, 512, false, false},
                           {"tiny, scores of a window", 256, 256, 32, false, true},
                           {"tiny, scores times v", 256, 64, 256, false, false},
                           {"small, scores of a chunk", 64, 64, 64, false, true},
                           {"small, chunk times v", 64, 128, 64, false, false},
                           {"small, state of a chunk", 64, 128, 64, true, false},
                           // decoding, a batch of 16 and one sequence
                           {"decode 16, d to 6d", 16, 1536, 256, false, true},
                           {"decode 16, d to 2d", 16, 512, 256, false, true},
                           {"decode 1, d to d", 1, 256, 256, false, true},
                           {"decode 1, 4d to 2d", 1, 512, 1024, false, true},
                           {"decode 1, 2d to 4d", 1, 1024, 512, false, true}};

constexpr double kLarge = 1e9;  // operations; larger cases are not quick

double flops(const Case& c) { return 2 * static_cast<double>(c.m) * static_cast<double>(c.n * c.k); }

Measurement measured(const std::string& what, const std::string& which, const Case& c, double seconds) {
  const auto bytes = static_cast<double>(4 * (c.m * c.k + c.k * c.n + c.m * c.n));
  return {what, which, "GFLOP/s", 1e-9 * flops(c) / seconds, seconds, flops(c), bytes};
}

using Step = void (*)(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                      const float* b);

// On the way from the definition to the library's product, see kernels/README.md.
constexpr std::pair<const char*, Step> kSteps[] = {{"naive", kernels::matmul_step_naive},
                                                   {"blocked", kernels::matmul_step_blocked},
                                                   {"packed", kernels::matmul_step_packed},
                                                   {"vectorised", kernels::matmul_step_vectorised}};

// Operands and result of a case, and the call of the kernel.
class Product {
 public:
  Product(const Case& c, Device device)
      : a_(rand_normal({c.m, c.k}, {1, 1}, 0, 1, Dtype::f32, device)),
        b_(rand_normal({c.k, c.n}, {1, 2}, 0, 1, Dtype::f32, device)),
        c_(Tensor::zeros({c.m, c.n}, Dtype::f32, device)) {
    s_.m = c.m, s_.n = c.n, s_.k = c.k, s_.c_row = c.n;
    s_.a_row = c.transpose_a ? 1 : c.k, s_.a_col = c.transpose_a ? c.m : 1;
    s_.b_row = c.transpose_b ? 1 : c.n, s_.b_col = c.transpose_b ? c.k : 1;
  }
  template <class Epilogue = kernels::NoEpilogue>
  void run(const Epilogue& epilogue = {}) const {
    on_device("bench", c_.device(), [&](auto exec) {
      kernels::matmul(exec, s_, c_.data<float>(), pointer(a_), pointer(b_), epilogue);
    });
  }
  void run_naive() const {
    on_device("bench", c_.device(), [&](auto exec) {
      kernels::matmul_naive(exec, s_, c_.data<float>(), pointer(a_), pointer(b_));
    });
  }
  void run_tiled() const {
    on_gpu("bench",
           [&](auto exec) { kernels::matmul_tiled(exec, s_, c_.data<float>(), pointer(a_), pointer(b_)); });
  }
  void run(Step step) const { step(s_.m, s_.n, s_.k, c_.data<float>(), a_.data<float>(), b_.data<float>()); }
  const Tensor& result() const { return c_; }

 private:
  static const float* pointer(const Tensor& x) { return x.data<float>(); }

  kernels::Matmul s_;
  Tensor a_, b_, c_;
};

}  // namespace

void bench_matmul(Report& report, const BenchOptions& options) {
  report.heading("matrix products, f32: m x k times k x n, T: transposed in memory");
  for (const Case& c : kCases) {
    if (options.quick && flops(c) > kLarge) continue;
    const Product product(c, options.device);
    std::ostringstream which;
    which << c.name << ": " << c.m << " x " << c.k << (c.transpose_a ? "T" : "") << ", " << c.k << " x "
          << c.n << (c.transpose_b ? "T" : "");
    report.add(measured("matmul", which.str(), c,
                        median_seconds(options.budget / 4, options.device, [&] { product.run(); })));
  }
}

namespace {

/// The steps of the CPU, on one thread, and then what all threads add.
void cpu_steps(const Product& product, const BenchOptions& options,
               const std::function<void(const std::string&, double)>& add) {
  const int threads = kernels::num_threads();
  kernels::set_num_threads(1);
  for (const auto& [name, step] : kSteps)
    add(name, median_seconds(options.budget / 2, Device::cpu, [&, run = step] { product.run(run); }));
  add("the library's", median_seconds(options.budget / 2, Device::cpu, [&] { product.run(); }));
  kernels::set_num_threads(threads);
  add("all threads", median_seconds(options.budget / 2, Device::cpu, [&] { product.run(); }));
}

/// Those of a GPU.
void gpu_steps(const Product& product, const BenchOptions& options,
               const std::function<void(const std::string&, double)>& add) {
  const double budget = options.budget / 2;
  add("naive", median_seconds(budget, options.device, [&] { product.run_naive(); }));
  add("tiled", median_seconds(budget, options.device, [&] { product.run_tiled(); }));
  add("the library's", median_seconds(budget, options.device, [&] { product.run(); }));
}

}  // namespace

void bench_steps(Report& report, const BenchOptions& options) {
  const bool cpu = options.device == Device::cpu;
  const std::int64_t size = options.quick ? 256 : cpu ? 1024 : 4096;
  const Case square{"", size, size, size, false, false};
  report.heading("the matrix product step by step, " + std::to_string(size) + " x " + std::to_string(size) +
                 (cpu ? ", on one thread" : ""));
  (cpu ? cpu_steps : gpu_steps)(
      Product(square, options.device), options,
      [&](const std::string& name, double seconds) { report.add(measured("steps", name, square, seconds)); });

  // A feed-forward layer of preset tiny and its activation.
  const Case layer{"", 4096, 256, 128, false, true};
  const Product linear(layer, options.device);
  const double apart = median_seconds(options.budget / 2, options.device, [&] {
    linear.run();
    gelu(linear.result());
  });
  report.add(measured("steps", "product, then gelu", layer, apart));
  const double fused = median_seconds(options.budget / 2, options.device, [&] {
    linear.run(kernels::Activate<kernels::Gelu, float>{{}, nullptr});
  });
  report.add(measured("steps", "gelu fused into the product", layer, fused));
}

}  // namespace retnet
