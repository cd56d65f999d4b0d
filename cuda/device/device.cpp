#include "device/device.hpp"

#include <cstdlib>

#include "device/check.hpp"

namespace penstock {

namespace {

int devices() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver > 0)
      throw_input_error(
          "the NVIDIA driver is too old: it serves CUDA {}.{}, this program was built with CUDA {}.{}; update the "
          "driver, or build Penstock with an older toolkit",
          driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  }
  if (code != cudaSuccess || count == 0)
    throw_input_error(
        "this is Penstock's CUDA build, and it sees no GPU here ({}); start it on a node with an NVIDIA GPU and its "
        "driver (in Slurm: --gpus-per-node=N), or use the CPU build (cmake --preset cpu)",
        code == cudaSuccess ? "no device" : cudaGetErrorString(code));
  return count;
}

// NCCL refuses two ranks on one GPU unless they seem to be on hosts of their own; then they must not use what only
// one host has.
void pretend_own_host(int rank_on_node) {
  const std::string host = "penstock-rank-" + std::to_string(rank_on_node);
  setenv("NCCL_HOSTID", host.c_str(), 1);
  setenv("NCCL_P2P_DISABLE", "1", 1);
  setenv("NCCL_SHM_DISABLE", "1", 1);
  setenv("NCCL_SOCKET_IFNAME", "lo", 1);
}

}  // namespace

void open_device(const DeviceChoice& choice) {
  const int count = devices();
  // Counted, not identified: where a launcher shows each rank one GPU of its own this refuses too much, but two ranks
  // never meet on one GPU unasked.
  if (choice.ranks_on_node > count && !choice.share)
    throw_input_error(
        "{} ranks on this node, but {} GPU{} to be seen: a rank computes on a GPU of its own; start {} rank{} a node, or "
        "say device.share = true (for tests: several ranks on one GPU)",
        choice.ranks_on_node, count, count == 1 ? " is" : "s are", count, count == 1 ? "" : "s");
  if (choice.share && choice.ranks_on_node > count) pretend_own_host(choice.rank_on_node);
  check_cuda(cudaSetDevice(choice.rank_on_node % count));
  check_cuda(cudaFree(nullptr));
}

std::string device_text() {
  int device = 0;
  cudaDeviceProp properties{};
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaGetDeviceProperties(&properties, device));
  return fmt::format("{}, GPU {}", properties.name, device);
}

}  // namespace penstock
