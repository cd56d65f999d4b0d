// SPDX-License-Identifier: Apache-2.0
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

std::string name_of_device(int device) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, device));
  std::string name;
  for (const char byte : properties.uuid.bytes) name += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return name;
}

// NCCL refuses two ranks on one GPU unless they appear to be on different hosts. Then they must not use what works only
// within one host.
void pretend_own_host(int rank_on_node) {
  const std::string host = "penstock-rank-" + std::to_string(rank_on_node);
  setenv("NCCL_HOSTID", host.c_str(), 1);
  setenv("NCCL_P2P_DISABLE", "1", 1);
  setenv("NCCL_SHM_DISABLE", "1", 1);
  setenv("NCCL_SOCKET_IFNAME", "lo", 1);
}

}  // namespace

std::vector<std::string> visible_devices() {
  std::vector<std::string> names;
  const int count = devices();
  for (int device = 0; device < count; ++device) names.push_back(name_of_device(device));
  return names;
}

void open_device(const DeviceChoice& choice) {
  const DevicePlace place = place_on_device(choice);
  if (place.shared) pretend_own_host(choice.rank_on_node);
  check_cuda(cudaSetDevice(place.index));
  check_cuda(cudaFree(nullptr));
}

DeviceRoom device_room() {
  int device = 0;
  check_cuda(cudaGetDevice(&device));
  DeviceRoom room;
  room.device = name_of_device(device);
  check_cuda(cudaMemGetInfo(&room.free, &room.total));
  return room;
}

// nvidia-smi's figure minus the plan's total, with one rank: 548 MiB (124M parameters, 32 x 1024 tokens) and 576 MiB
// (1.3B, 8 x 2048).
MemoryBesidePlan memory_beside_plan() {
  return {.bytes = std::size_t{560} << 20,
          .what =
              "the CUDA context and the libraries' kernels, as measured on one H200 with CUDA 13.0 and cuDNN 9.14; "
              "NCCL's buffers, with several ranks, come on top",
          .host_copies = false,
          .shown_by = "nvidia-smi"};
}

std::string memory_in_use_text() {
  std::size_t left = 0, all = 0;
  check_cuda(cudaMemGetInfo(&left, &all));
  constexpr double gibibyte = 1 << 30;
  return fmt::format("{:.2f} of the GPU's {:.2f} GiB are taken", static_cast<double>(all - left) / gibibyte,
                     static_cast<double>(all) / gibibyte);
}

std::string arithmetic_text() { return {}; }

std::string device_text() {
  int device = 0;
  cudaDeviceProp properties{};
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaGetDeviceProperties(&properties, device));
  return fmt::format("{} (GPU {})", properties.name, device);
}

}  // namespace penstock
