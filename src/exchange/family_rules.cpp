// SPDX-License-Identifier: Apache-2.0
#include "exchange/family_rules.hpp"

#include "base/error.hpp"

namespace penstock {

const FamilyRules& rules_of(HuggingFaceFamily family) {
  for (const auto& rules : all_families)
    if (rules().family == family) return rules();
  throw_logic_error("rules_of: a family without rules", std::source_location::current());
}

std::string_view name_of(HuggingFaceFamily family) { return rules_of(family).model_type; }

std::span<const NeutralKey> neutral_keys() {
  static const std::vector<NeutralKey> keys{// Who wrote the file, and how the weights are stored.
                                            {"architectures"},
                                            {"torch_dtype"},
                                            {"dtype"},
                                            {"transformers_version"},
                                            {"_name_or_path"},
                                            {"name_or_path"},
                                            {"unsloth_version"},
                                            {"unsloth_fixed"},
                                            {"transformers.js_config"},
                                            {"torchscript"},
                                            {"use_bfloat16"},
                                            {"_commit_hash"},
                                            {"_attn_implementation"},
                                            {"_attn_implementation_autoset"},
                                            {"attn_implementation"},
                                            // How it was begun, and what other programs' runs want of it.
                                            {"initializer_range"},
                                            {"use_cache"},
                                            {"return_dict"},
                                            {"output_attentions"},
                                            {"output_hidden_states"},
                                            {"gradient_checkpointing"},
                                            {"model_max_length"},
                                            // Tokens. The tokenizer and generation_config.json decide.
                                            {"bos_token_id"},
                                            {"eos_token_id"},
                                            {"pad_token_id"},
                                            {"sep_token_id"},
                                            {"cls_token_id"},
                                            {"unk_token_id"},
                                            {"mask_token_id"},
                                            {"decoder_start_token_id"},
                                            {"tokenizer_class"},
                                            {"prefix"},
                                            // Heads for other tasks.
                                            {"id2label"},
                                            {"label2id"},
                                            {"num_labels"},
                                            {"problem_type"},
                                            {"finetuning_task"},
                                            {"task_specific_params"},
                                            // How tokens were chosen: older versions of transformers kept this here.
                                            {"do_sample"},
                                            {"temperature"},
                                            {"top_k"},
                                            {"top_p"},
                                            {"min_p"},
                                            {"typical_p"},
                                            {"num_beams"},
                                            {"num_beam_groups"},
                                            {"diversity_penalty"},
                                            {"repetition_penalty"},
                                            {"length_penalty"},
                                            {"early_stopping"},
                                            {"no_repeat_ngram_size"},
                                            {"encoder_no_repeat_ngram_size"},
                                            {"bad_words_ids"},
                                            {"max_length"},
                                            {"min_length"},
                                            {"max_new_tokens"},
                                            {"min_new_tokens"},
                                            {"num_return_sequences"},
                                            {"output_scores"},
                                            {"return_dict_in_generate"},
                                            {"forced_bos_token_id"},
                                            {"forced_eos_token_id"},
                                            {"remove_invalid_values"},
                                            {"suppress_tokens"},
                                            {"begin_suppress_tokens"},
                                            {"exponential_decay_length_penalty"},
                                            {"tf_legacy_loss"},
                                            // What changes the model, unless it is off.
                                            {"attention_dropout", {"0", "0.0"}},
                                            {"hidden_dropout", {"0", "0.0"}},
                                            {"is_encoder_decoder", {"false"}},
                                            {"is_decoder"},
                                            {"add_cross_attention", {"false"}},
                                            {"cross_attention_hidden_size", {"0"}},
                                            {"tie_encoder_decoder", {"false"}},
                                            {"chunk_size_feed_forward", {"0"}},
                                            {"pruned_heads", {"{}"}},
                                            {"partial_rotary_factor", {"1", "1.0"}},
                                            {"quantization_config", {"{}"}},
                                            {"auto_map", {"{}"}}};
  return keys;
}

}  // namespace penstock
