// SPDX-License-Identifier: Apache-2.0
#include "device/recording.hpp"

#include "device/backend.hpp"

namespace penstock {

namespace {

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyGraph>;

/// Records what `work` would enqueue on the stream. Other threads may use the device meanwhile.
Graph record(cudaStream_t stream, const std::function<void()>& work) {
  const auto end = [&] {
    cudaGraph_t graph = nullptr;
    const cudaError_t code = cudaStreamEndCapture(stream, &graph);
    return std::pair(code, Graph(graph));
  };
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  try {
    work();
  } catch (...) {
    end();
    throw;
  }
  auto [code, graph] = end();
  check_cuda(code);
  return std::move(graph);
}

}  // namespace

struct Recording::Backend {
  Queue* queue = nullptr;
  cudaGraphExec_t graph = nullptr;
  bool was_done = false;               ///< with the queue's present workspace
  std::uint64_t workspace_number = 0;  ///< at that time

  explicit Backend(Queue& of) : queue(&of) {}
  ~Backend() { forget(); }
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  void forget() {
    if (graph) cudaGraphExecDestroy(graph);
    graph = nullptr;
    was_done = false;
  }
};

Recording::Recording(Queue& queue) : backend_(std::make_unique<Backend>(queue)) {}
Recording::~Recording() = default;
Recording::Recording(Recording&&) noexcept = default;
Recording& Recording::operator=(Recording&&) noexcept = default;

// The first time, operations create what they keep: plans, handles, a larger workspace.
void Recording::run(const std::function<void()>& work) {
  Backend& b = *backend_;
  const Queue::Backend& queue = b.queue->backend();
  if (b.workspace_number != queue.workspace_number) b.forget();
  if (!queue.records || !b.was_done) {
    work();
    b.was_done = true;
    b.workspace_number = queue.workspace_number;
    return;
  }
  if (!b.graph) check_cuda(cudaGraphInstantiate(&b.graph, record(queue.stream, work).get(), 0));
  check_cuda(cudaGraphLaunch(b.graph, queue.stream));
}

}  // namespace penstock
