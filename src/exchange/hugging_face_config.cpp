// SPDX-License-Identifier: Apache-2.0
#include "exchange/hugging_face_config.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "base/json_object.hpp"
#include "base/suggest.hpp"
#include "config/mistakes.hpp"
#include "exchange/family_rules.hpp"

namespace penstock {
namespace {

constexpr std::string_view correct = "correct it, or take config.json from where the weights come from";
constexpr std::string_view not_built = "Penstock has no such model";
constexpr std::size_t most_unknown_keys = 30;  // of another program's file: the first ones say enough
constexpr const char *full_attention = "full_attention", *sliding_attention = "sliding_attention";

/// What yarn makes of its factor where the file names no attention_factor (Peng et al. 2023, equation 22).
double default_attention_factor(double factor) { return 0.1 * std::log(factor) + 1; }

class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& json, std::string_view where) : json_(json), where_(where) {}

  HuggingFaceConfig read() {
    rules_ = find_rules();
    if (rules_ == nullptr) mistakes_.throw_if_any();
    config_ = rules_->defaults;
    read_sizes();
    read_flags();
    if (config_.rotary()) read_rope();
    read_window();
    check_neutral_keys();
    check_unknown_keys();
    if (!mistakes_.any()) check_across_keys();
    mistakes_.throw_if_any();
    return config_;
  }

 private:
  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    mistakes_.add("{}: {}", where_, fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  /// Null counts as missing: transformers writes either.
  const nlohmann::json* value_of(std::string_view key) {
    if (key.empty()) return nullptr;
    used_.insert(std::string(key));
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  const FamilyRules* find_rules() {
    const nlohmann::json* type = value_of("model_type");
    std::vector<std::string> known;
    for (const auto& rules : all_families) {
      known.emplace_back(rules().model_type);
      if (type != nullptr && *type == known.back()) return &rules();
    }
    add("model_type = {}, and Penstock's models are {}; {}", type == nullptr ? "(none)" : shown(*type),
        fmt::join(known, ", "), type == nullptr ? correct : "use a model of one of these families");
    return nullptr;
  }

  void read_count(std::string_view key, std::int64_t& count) {
    constexpr std::int64_t most = std::int64_t{1} << 30;  // the sum of a few products of two fits into 64 bits
    const nlohmann::json* value = value_of(key);
    if (value == nullptr) return;
    if (!value->is_number_unsigned() || *value < 1 || *value > most)
      add("{} = {}, and must be a whole number from 1 to 2^30; {}", key, shown(*value), correct);
    else
      count = value->get<std::int64_t>();
  }

  void read_number(std::string_view key, const nlohmann::json* value, double& number, double least = 0) {
    if (value == nullptr) return;
    const double read = value->is_number() ? value->get<double>() : -1;
    if (!value->is_number() || !std::isfinite(read) || read < least || read <= 0)
      add("{} = {}, and must be a number {}; {}", key, shown(*value),
          least > 0 ? fmt::format("of {} or more", least) : "above 0", correct);
    else
      number = read;
  }

  void read_flag(std::string_view key, bool& flag) {
    const nlohmann::json* value = value_of(key);
    if (value == nullptr) return;
    if (value->is_boolean())
      flag = value->get<bool>();
    else
      add("{} = {}, and must be true or false; {}", key, shown(*value), correct);
  }

  void read_sizes() {
    const FamilyKeys& keys = rules_->keys;
    read_count(keys.layers, config_.layers);
    read_count(keys.width, config_.width);
    read_count(keys.heads, config_.heads);
    read_count(keys.vocabulary, config_.vocabulary);
    read_count(keys.positions, config_.positions);
    read_number(keys.norm_epsilon, value_of(keys.norm_epsilon), config_.norm_epsilon);
    read_count(keys.kv_heads, config_.kv_heads);
    // An explicit null means as many as heads, also where the family's default is a number.
    if (config_.kv_heads == 0 || (json_.contains(keys.kv_heads) && json_.at(std::string(keys.kv_heads)).is_null()))
      config_.kv_heads = config_.heads;
    read_count(keys.head_channels, config_.head_channels);
    read_count(keys.hidden, config_.hidden);
    if (config_.hidden == 0) config_.hidden = 4 * config_.width;
    if (config_.head_channels == 0) {
      if (config_.width % config_.heads != 0)
        add("{} = {} is no multiple of {} = {}, and no key says how many channels a head has; {}", keys.width,
            config_.width, keys.heads, config_.heads, correct);
      config_.head_channels = config_.width / config_.heads;
    }
  }

  void read_flags() {
    read_flag("tie_word_embeddings", config_.tied);
    read_flag(rules_->keys.attention_bias, config_.attention_bias);
    read_flag(rules_->keys.mlp_bias, config_.mlp_bias);
    const nlohmann::json* activation = value_of(rules_->activation_key);
    const auto& known = rules_->activations;
    if (activation != nullptr &&
        std::none_of(known.begin(), known.end(), [&](auto name) { return *activation == name; }))
      add("{} = {}, and Penstock's {} computes {}; {}", rules_->activation_key, shown(*activation), rules_->model_type,
          fmt::join(known, " or "), not_built);
  }

  void read_rope() {
    constexpr const char *scaling = "rope_scaling", *parameters = "rope_parameters", *theta = "rope_theta";
    std::optional<RopeScaling> from_scaling, from_parameters;
    const nlohmann::json* value = value_of(theta);
    std::optional<double> base;
    if (value != nullptr) {
      double number = 0;
      read_number(theta, value, number, 1);
      base = number;
    }
    if (const nlohmann::json* object = value_of(scaling)) from_scaling = read_rope_object(scaling, *object, base);
    if (const nlohmann::json* object = value_of(parameters))
      from_parameters = read_rope_object(parameters, *object, base);
    if (from_scaling && from_parameters && *from_scaling != *from_parameters)
      add("{} and {} differ, and programs do not agree on which of them counts; remove one of them", scaling,
          parameters);
    config_.rope_scaling = from_parameters ? *from_parameters : from_scaling.value_or(RopeScaling{});
    if (base) config_.rope_theta = *base;
  }

  /// `base` is what was found of the theta so far.
  RopeScaling read_rope_object(const std::string& name, const nlohmann::json& object, std::optional<double>& base) {
    RopeScaling rope;
    if (!object.is_object()) {
      add("{} = {}, and must be an object or null; {}", name, shown(object), correct);
      return rope;
    }
    std::set<std::string> known;
    const auto member = [&](const std::string& key) -> const nlohmann::json* {
      known.insert(key);
      const auto found = object.find(key);
      return found == object.end() || found->is_null() ? nullptr : &*found;
    };
    const auto needed = [&](const std::string& key, double& number, double least) {
      const nlohmann::json* value = member(key);
      if (value == nullptr) add("{}.{} is missing; {}", name, key, correct);
      read_number(name + "." + key, value, number, least);
    };
    // A value of a key that changes nothing where it is this number, or null.
    const auto neutral = [&](const std::string& key, double number) {
      const nlohmann::json* value = member(key);
      if (value != nullptr && !(value->is_number() && std::abs(value->get<double>() - number) <= 1e-6 * number))
        add("{}.{} = {}, and Penstock computes {} only; {}", name, key, shown(*value), number, not_built);
    };

    if (const nlohmann::json* value = member("rope_theta")) {
      double theta = 0;
      read_number(name + ".rope_theta", value, theta, 1);
      if (base && *base != theta)
        add("rope_theta is {} in one place and {} in {}; correct one of them", *base, theta, name);
      base = theta;
    }
    neutral("partial_rotary_factor", 1);

    const nlohmann::json *type = member("type"), *rope_type = member("rope_type");
    if (type != nullptr && rope_type != nullptr && shown(*type) != shown(*rope_type))
      add("{}.type = {} and {}.rope_type = {} differ; remove one of them", name, shown(*type), name, shown(*rope_type));
    const nlohmann::json* kind = rope_type != nullptr ? rope_type : type;
    const std::string word = kind == nullptr ? "default" : kind->is_string() ? kind->get<std::string>() : shown(*kind);
    if (word == "default") {
      neutral("factor", 1);
    } else if (word == "linear") {
      rope.kind = RopeKind::linear;
      needed("factor", rope.factor, 1);
    } else if (word == "llama3") {
      rope.kind = RopeKind::llama3;
      needed("factor", rope.factor, 1);
      needed("low_freq_factor", rope.low, 0);
      needed("high_freq_factor", rope.high, 0);
      if (rope.low > 0 && rope.high > 0 && rope.high <= rope.low)
        add("{}.high_freq_factor = {} must be larger than {}.low_freq_factor = {}; {}", name, rope.high, name, rope.low,
            correct);
    } else if (word == "yarn") {
      rope.kind = RopeKind::yarn;
      needed("factor", rope.factor, 1);
      neutral("attention_factor", default_attention_factor(rope.factor));
      neutral("beta_fast", 32);
      neutral("beta_slow", 1);
      neutral("mscale", 0);
      neutral("mscale_all_dim", 0);
      if (const nlohmann::json* truncate = member("truncate"); truncate != nullptr && *truncate != true)
        add("{}.truncate = {}, and Penstock computes true only; {}", name, shown(*truncate), not_built);
      known.insert("finetuned");  // a remark in early files
    } else {
      const bool per_layer = kind == nullptr && object.contains(full_attention);
      add("{}.{} = \"{}\", and Penstock computes default, linear, llama3 and yarn; {}", name,
          rope_type != nullptr ? "rope_type" : "type", per_layer ? "one a kind of layer" : word, not_built);
      return rope;
    }
    if (rope.kind == RopeKind::llama3 || rope.kind == RopeKind::yarn) {
      rope.original = config_.positions;  // as transformers does
      if (const nlohmann::json* value = member("original_max_position_embeddings")) {
        if (value->is_number_unsigned() && *value >= 1 && *value <= (1 << 30))
          rope.original = value->get<std::int64_t>();
        else
          add("{}.original_max_position_embeddings = {}, and must be a whole number from 1 to 2^30; {}", name,
              shown(*value), correct);
      }
    }
    for (const auto& [key, value] : object.items())
      if (!known.contains(key) && !value.is_null())
        add("{}.{} = {}: a key that {} does not have; if it changes nothing, remove it or set it to null", name, key,
            shown(value), word);
    return rope;
  }

  void read_window() {
    const std::int64_t by_default = config_.window;
    config_.window = 0;
    if (rules_->window == WindowKeys::none) return;
    std::int64_t window = by_default;
    read_count("sliding_window", window);
    if (json_.contains("sliding_window") && json_.at("sliding_window").is_null()) window = 0;
    if (rules_->window == WindowKeys::per_layer) {
      bool used = false;
      read_flag("use_sliding_window", used);
      if (!used) window = 0;
      const std::int64_t first = read_first_window_layer();
      if (window != 0 && first >= config_.layers)
        window = 0;
      else if (window != 0 && first > 0 && value_of("layer_types") == nullptr)
        return add(
            "use_sliding_window = true and max_window_layers = {} give layers from {} on a window and the others none; "
            "{} with windows in some layers",
            first, first, not_built);
    }
    check_layer_types(window);
    config_.window = window;
  }

  /// max_window_layers: layers before it have no window.
  std::int64_t read_first_window_layer() {
    constexpr std::int64_t by_default = 28, anywhere = 0;
    const nlohmann::json* value = value_of("max_window_layers");
    if (value_of("layer_types") != nullptr) return anywhere;  // these decide then
    if (value == nullptr) return by_default;
    if (value->is_number_integer() && *value >= 0 && *value <= (1 << 30)) return value->get<std::int64_t>();
    add("max_window_layers = {}, and must be a whole number from 0 to 2^30; {}", shown(*value), correct);
    return by_default;
  }

  /// A list of layer types overrides a window for all layers, unless both say the same.
  void check_layer_types(std::int64_t& window) {
    const nlohmann::json* types = value_of("layer_types");
    if (types == nullptr) return;
    if (!types->is_array()) return add("layer_types = {}, and must be a list; {}", shown(*types), correct);
    if (static_cast<std::int64_t>(types->size()) != config_.layers)
      return add("layer_types has {} entries, and {} = {}; {}", types->size(), rules_->keys.layers, config_.layers,
                 correct);
    std::int64_t full = 0, sliding = 0;
    for (const nlohmann::json& type : *types) {
      full += type == full_attention ? 1 : 0;
      sliding += type == sliding_attention ? 1 : 0;
      if (type != full_attention && type != sliding_attention)
        return add("layer_types has {}, and Penstock's layers are {} or {}; {}", shown(type), full_attention,
                   sliding_attention, not_built);
    }
    if (full > 0 && sliding > 0)
      return add("layer_types has {} of {} and {} of {}; {} with windows in some layers", full, full_attention, sliding,
                 sliding_attention, not_built);
    if (sliding > 0 && window == 0)
      return add("layer_types has {}, and no sliding_window is in use; {}", sliding_attention, correct);
    if (full > 0 && window > 0 && rules_->window == WindowKeys::sliding_window)
      return add(
          "layer_types has {} alone, and sliding_window = {} says otherwise; remove layer_types, or set "
          "sliding_window to null",
          full_attention, window);
    if (full > 0) window = 0;
  }

  void check_neutral_keys() {
    const auto check = [&](const NeutralKey& key) {
      const nlohmann::json* value = value_of(key.name);
      if (value == nullptr || key.values.empty()) return;
      const std::string text = shown(*value);
      if (std::find(key.values.begin(), key.values.end(), text) == key.values.end())
        add("{} = {}, and Penstock's {} computes {} = {} only; {}", key.name, text, rules_->model_type, key.name,
            key.values.front(), not_built);
    };
    for (const NeutralKey& key : rules_->neutral) check(key);
    for (const NeutralKey& key : neutral_keys())
      if (!used_.contains(std::string(key.name))) check(key);  // a family's own rule counts
    if (const nlohmann::json* context = rules_->family == HuggingFaceFamily::gpt2 ? value_of("n_ctx") : nullptr;
        context != nullptr && *context != config_.positions)
      add("n_ctx = {} and n_positions = {} differ; correct one of them", shown(*context), config_.positions);
  }

  void check_unknown_keys() {
    const std::vector<std::string> known(used_.begin(), used_.end());
    for (const auto& [key, value] : json_.items()) {
      if (value.is_null() || used_.contains(key)) continue;
      if (++unknown_ > most_unknown_keys) continue;
      constexpr std::size_t a_slip = 2, longest_slip = 60;
      const std::string near = key.size() <= longest_slip ? nearest(key, known) : "";
      add("{} = {}: Penstock does not know this key of {}, and it may change what the model computes{}; if it changes "
          "nothing, remove it or set it to null",
          key, shown(value), rules_->model_type,
          !near.empty() && edit_distance(key, near) <= a_slip ? fmt::format(" (is {} meant?)", near) : "");
    }
  }

  /// Checks that concern several values.
  void check_across_keys() {
    const FamilyKeys& keys = rules_->keys;
    if (config_.heads % config_.kv_heads != 0)
      add("{} = {} is no multiple of {} = {}; {}", keys.heads, config_.heads, keys.kv_heads, config_.kv_heads, correct);
    if (config_.rotary() && config_.head_channels % 2 != 0)
      add("a head has {} channels, and rotary positions need an even number; {}", config_.head_channels, correct);
  }

  const nlohmann::json& json_;
  std::string_view where_;
  const FamilyRules* rules_ = nullptr;
  HuggingFaceConfig config_;
  std::set<std::string> used_;
  std::size_t unknown_ = 0;
  Mistakes mistakes_;
};

}  // namespace

HuggingFaceConfig parse_hugging_face_config(std::string_view text, std::string_view where) {
  const nlohmann::json json = parse_json_object(text, where, correct);
  return ConfigReader(json, where).read();
}

}  // namespace penstock
