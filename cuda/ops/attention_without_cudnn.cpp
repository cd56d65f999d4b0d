// SPDX-License-Identifier: Apache-2.0
#include "ops/attention_cudnn.hpp"

// Replaces attention_cudnn.cpp with -DPENSTOCK_CUDNN=OFF: our own kernels do everything.

namespace penstock::ops {

std::size_t cudnn_version() { return 0; }

bool attention_by_cudnn(Queue&, const Attention&) { return false; }

bool attention_gradient_by_cudnn(Queue&, const AttentionGradient&) { return false; }

std::size_t prepare_attention_by_cudnn(Queue&, const AttentionShape&, DType, const Dropout&) { return 0; }

std::size_t attention_workspace_of_cudnn(const AttentionShape&, DType) { return 0; }

}  // namespace penstock::ops
