// Tensors on the GPU: copies, memory, and what is refused.

#include <cmath>

#include "tensor/graph.h"
#include "tensor/ops.h"
#include "tests/support/allocations.h"
#include "tests/support/close.h"
#include "tests/support/gpu.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"

namespace retnet::test {
namespace {

TEST_CASE("tensors of every dtype and layout go to the GPU and back", "[gpu][tensor]") {
  RETNET_NEEDS_GPU();
  for (const Layout layout : kLayouts)
    for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
      const Tensor x = random({5, 3, 7}, 1, layout, dtype), there = x.to(Device::hip);
      CHECK(there.device() == Device::hip);
      CHECK(bit_difference(there.to(Device::cpu), clone(x)) == "");
      CHECK(bit_difference(on_gpu(x).to(Device::cpu), clone(x)) == "");
      CHECK(there.at({4, 2, 6}) == x.at({4, 2, 6}));
    }
  const Tensor ids = random_ids({3, 5}, 100, 2);
  CHECK(bit_difference(ids.to(Device::hip).to(Device::cpu), ids) == "");
  CHECK(Tensor::zeros({0, 3}, Dtype::f32, Device::hip).to(Device::cpu).size() == 0);
}

TEST_CASE("memory of the GPU is reused and counted, and begins as NaN while poisoning is on",
          "[gpu][storage]") {
  RETNET_NEEDS_GPU();
  release_cached_memory(Device::hip);
  const MemoryStats before = memory_stats(Device::hip);
  void* first = nullptr;
  {
    const Storage block(100000, Device::hip);
    first = block.data();
    CHECK(memory_stats(Device::hip).live >= before.live + 100000);
  }
  CHECK(memory_stats(Device::hip).live == before.live);
  if (allocations_are_counted()) {  // not under AddressSanitizer, for which blocks are freed at once
    CHECK(memory_stats(Device::hip).cached >= 100000);
    CHECK(Storage(99990, Device::hip).data() == first);
  }
  set_poison(true);
  CHECK(std::isnan(Tensor::empty({1}, Dtype::f32, Device::hip).item()));
  CHECK(Tensor::empty({1}, Dtype::i32, Device::hip).item() == -1);
}

TEST_CASE("a graph computes again what it recorded, from what is in memory then", "[gpu][graph]") {
  RETNET_NEEDS_GPU();
  const Tensor x = random({5, 7}, 1), y = random({5, 7}, 2);
  const Tensor input = x.to(Device::hip);
  Tensor result;
  const auto work = [&] {
    // The list of parts is copied from the host, and one product's memory is the next one's.
    const Tensor squares = sum_squares(std::vector<Tensor>{input, mul(mul(input, 2), 0.5)});
    result = add(sum(squares), astype(sum(input), Dtype::f64));
  };
  const auto expected = [&](const Tensor& of) { return 2 * sum_squares(of) + sum(of).item(); };
  work();
  const DeviceGraph graph(work);
  CHECK(graph.launches() >= 6);
  for (const Tensor& given : {y, x, y}) {
    input.assign(given);
    graph.run();
    CHECK(result.item() == Approx(expected(given)).epsilon(1e-6));
  }
}

TEST_CASE("nobody else gets memory of a graph, nor what was in use when it was recorded", "[gpu][graph]") {
  RETNET_NEEDS_GPU();
  Tensor table = Tensor::full({1000}, 3, Dtype::f32, Device::hip), result;
  {
    const DeviceGraph graph([&] { result = add(mul(table, 2), 1); });
    table = result = Tensor();
    std::vector<Tensor> others;
    for (int i = 0; i < 8; ++i) others.push_back(Tensor::full({1000}, i, Dtype::f32, Device::hip));
    graph.run();
    for (int i = 0; i < 8; ++i) CHECK(others[static_cast<std::size_t>(i)].at({999}) == i);
  }
  const MemoryStats before = memory_stats(Device::hip);
  release_cached_memory(Device::hip);
  CHECK(memory_stats(Device::hip).cached == 0);
  CHECK(memory_stats(Device::hip).live == before.live);
}

TEST_CASE("a graph that would read on the host is refused, and what follows is computed", "[gpu][graph]") {
  RETNET_NEEDS_GPU();
  const Tensor x = Tensor::full({3}, 1, Dtype::f32, Device::hip);
  CHECK_THROWS_AS(DeviceGraph([&] { sum(x).item(); }), kernels::DeviceError);
  CHECK(add(x, 1).at({2}) == 2);
}

TEST_CASE("more memory than the GPU has is an error that says so, and changes nothing", "[gpu][storage]") {
  RETNET_NEEDS_GPU();
  const MemoryStats before = memory_stats(Device::hip);
  const std::string message = error_message([] { Storage(std::int64_t{1} << 46, Device::hip); });
  CHECK(message.find("the GPU is out of memory: asked for 64.0 TiB with ") == 0);
  CHECK(memory_stats(Device::hip).live == before.live);
  CHECK(add(Tensor::full({3}, 1, Dtype::f32, Device::hip), 1).at({2}) == 2);
}

TEST_CASE("operands on two devices are refused", "[gpu][errors]") {
  RETNET_NEEDS_GPU();
  const Tensor x = Tensor::zeros({2, 2}), y = x.to(Device::hip);
  CHECK(error_message([&] { add(x, y); }) == "add: devices differ, got cpu and hip; move one with to()");
  CHECK(error_message([&] { matmul(x, y); }) ==
        "matmul: devices differ, got cpu and hip; move one with to()");
  CHECK(error_message([&] { linear(y, x); }) ==
        "linear: devices differ, got hip and cpu; move one with to()");
  CHECK(error_message([&] { copy_into(x, y); }) ==
        "copy: devices differ, got cpu and hip; move one with to()");
}

TEST_CASE("ids on the host are checked; of those on the GPU a bad one gives NaN", "[gpu][errors]") {
  RETNET_NEEDS_GPU();
  const Tensor table = Tensor::full({3, 2}, 1, Dtype::f32, Device::hip);
  const Tensor good = Tensor::from(std::vector<std::int32_t>{0, 2}, {2}),
               bad = Tensor::from(std::vector<std::int32_t>{0, 3}, {2});
  CHECK(embedding(table, good).to(Device::cpu).at({1, 1}) == 1);
  CHECK(error_message([&] { embedding(table, bad); }) == "embedding: ids must be in 0 .. 2, got 3");
  CHECK(error_message([&] { cross_entropy(transpose(table), bad); }) ==
        "cross_entropy: targets must be in 0 .. 2, got 3");
  const Tensor ids = bad.to(Device::hip);
  CHECK(embedding(table, ids).at({0, 0}) == 1);
  CHECK(std::isnan(embedding(table, ids).at({1, 0})));
  CHECK(std::isnan(gather(transpose(table), ids).at({1})));
  CHECK(std::isnan(cross_entropy(transpose(table), ids).loss.at({1})));
  CHECK(embedding_grad(Tensor::full({2, 2}, 1, Dtype::f32, Device::hip), ids, 3).at({0, 0}) == 1);
}

TEST_CASE("random numbers on the GPU are the CPU's", "[gpu][random]") {
  RETNET_NEEDS_GPU();
  const RandomKey key{7, 9};
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    const Shape shape{10007};
    CHECK(bit_difference(rand_uniform(shape, key, 0, 1, dtype, Device::hip),
                         rand_uniform(shape, key, 0, 1, dtype)) == "");
    CHECK(error(rand_normal(shape, key, 0, 1, dtype, Device::hip), rand_normal(shape, key, 0, 1, dtype)) <=
          (dtype == Dtype::f64 ? 1e-15 : 1e-7));
    const Tensor x = Tensor::full(shape, 3, dtype);
    CHECK(bit_difference(dropout(x.to(Device::hip), 0.3, key), dropout(x, 0.3, key)) == "");
  }
}

TEST_CASE("an embedding's gradient on the GPU adds up more slices of tokens than a block has threads",
          "[gpu]") {
  RETNET_NEEDS_GPU();
  for (const std::int64_t n : {257, 600, 256 * 256 + 300}) {
    const Tensor dy = random({n, 2}, 1), ids = random_ids({n}, 3, 2);
    const Tensor expected = embedding_grad(dy, ids, 3);
    const Tensor result = embedding_grad(dy.to(Device::hip), ids.to(Device::hip), 3).to(Device::cpu);
    INFO(n << " tokens");
    CHECK(normalized_square_error(result, expected) <= 1e-20);
  }
}

TEST_CASE("a norm's rows are shared out by their length, and equal the CPU's around each change of it",
          "[gpu]") {
  RETNET_NEEDS_GPU();
  for (const std::int64_t n : {64, 65, 128, 129, 255, 256, 257})
    for (const bool gated : {false, true}) {
      const Shape all{3, 2 * n}, one{2 * n};
      GroupNormInputs in{random(all, 1), random(one, 2), {}, {}, {2, 0.1, true, Activation::none}};
      if (gated)
        in.bias = random(one, 3), in.gate = random(all, 4), in.options.activation = Activation::swish;
      const Tensor dy = random(all, 5);
      const auto run = [&](Device device) {
        GroupNormInputs there = in;
        for (Tensor* x : {&there.x, &there.weight, &there.bias, &there.gate})
          if (x->defined()) *x = x->to(device);
        const GroupNormOutputs out = group_norm(there);
        std::vector<Tensor> results = group_norm_grad(there, out, dy.to(device));
        results.insert(results.end(), {out.y, out.mean, out.rstd});
        return results;
      };
      const std::vector<Tensor> expected = run(Device::cpu), result = run(Device::hip);
      INFO(n << " elements" << (gated ? ", gated" : ""));
      for (std::size_t i = 0; i < expected.size(); ++i)
        if (expected[i].defined()) CHECK(normalized_square_error(result[i], expected[i]) <= 1e-20);
    }
}

}  // namespace
}  // namespace retnet::test
