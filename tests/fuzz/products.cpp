// SPDX-License-Identifier: Apache-2.0
// products.tsv of a run folder: the choices of matrix products on a GPU. Its text form needs no GPU, but for one rule.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "ops/choice_text.hpp"

#ifdef PENSTOCK_FUZZ_WITHOUT_CUDA
namespace penstock::ops {

// As in finished_products.cu, which needs CUDA's compiler.
bool may_be_fused(const Product& product) {
  if (product.epilogue == Epilogue::none || product.accumulate) return false;
  if (!has_gelu(product.epilogue)) return true;
  return product.type == DType::bfloat16 && product.result == DType::bfloat16 && product.m % 8 == 0;
}

}  // namespace penstock::ops
#endif

namespace penstock::fuzz {

void feed_products(std::string_view bytes) {
  const ops::ChoiceOrigin here{.card = "A card", .library = "130000"};
  ops::ChoiceTable table;
  if (!accepts([&] { table = ops::choices_in(std::string(bytes), here); })) return;
  const std::string text = ops::text_of(here, table);
  promise(ops::text_of(here, ops::choices_in(text, here)) == text, "choices read back as they are");
}

}  // namespace penstock::fuzz
