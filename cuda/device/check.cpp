#include "device/check.hpp"

namespace penstock {

void throw_cuda_error(cudaError_t code, std::source_location where) {
  throw SystemError(fmt::format("{}:{}: CUDA: {} ({})", where.file_name(), where.line(), cudaGetErrorString(code),
                                cudaGetErrorName(code)));
}

}  // namespace penstock
