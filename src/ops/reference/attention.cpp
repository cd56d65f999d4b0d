// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.hpp"

#include <algorithm>
#include <cmath>

#include "ops/reference/dropout_factor.hpp"
#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {
namespace {

// Where the channels of a head of q start: in a packed row (part 0: its q, 1 and 2: the k and v that serve it), in a
// row of the output, in log_sum_exp.
struct Layout {
  ops::AttentionShape shape;

  std::int64_t packed(int part, std::int64_t sample, std::int64_t position, std::int64_t head) const {
    const std::int64_t row = sample * shape.sequence + position;
    const std::int64_t key_head = shape.heads + (part - 1) * shape.key_heads() + head / shape.heads_of_a_key();
    return row * shape.packed_width() + (part == 0 ? head : key_head) * shape.channels;
  }
  std::int64_t out(std::int64_t sample, std::int64_t position, std::int64_t head) const {
    return ((sample * shape.sequence + position) * shape.heads + head) * shape.channels;
  }
  std::int64_t log_sum_exp(std::int64_t sample, std::int64_t head, std::int64_t position) const {
    return (sample * shape.heads + head) * shape.sequence + position;
  }
  double score_scale() const { return 1 / std::sqrt(static_cast<double>(shape.channels)); }
};

// Calls act(sample, head, query) for every query of every head.
template <typename Act>
void for_each_query(const ops::AttentionShape& shape, Act&& act) {
  for (std::int64_t sample = 0; sample < shape.samples; ++sample)
    for (std::int64_t head = 0; head < shape.heads; ++head)
      for (std::int64_t query = 0; query < shape.sequence; ++query) act(sample, head, query);
}

// The factor of the probability from query t to key s; `arguments` of the forward or the backward pass.
template <typename Arguments>
double mask_factor(const Arguments& arguments, std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t s) {
  if (!arguments.dropout.active()) return 1;  // then first_sample may be null
  const std::uint64_t sample = *arguments.first_sample + static_cast<std::uint64_t>(b);
  return attention_dropout_factor(arguments.dropout, sample, arguments.shape.first_head + h, t, s);
}

double dot(const Values& a, std::int64_t first_a, const Values& b, std::int64_t first_b, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += a[at(first_a + i)] * b[at(first_b + i)];
  return sum;
}

void add_scaled(Values& to, std::int64_t first_to, double factor, const Values& from, std::int64_t first_from,
                std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[at(first_to + i)] += factor * from[at(first_from + i)];
}

}  // namespace

void attention(const ops::Attention& arguments) {
  const Layout layout{arguments.shape};
  const std::int64_t D = arguments.shape.channels;
  const Values qkv = read(arguments.qkv);
  Values out(at(arguments.out.elements())), log_sum_exp(at(arguments.log_sum_exp.elements()));
  for_each_query(arguments.shape, [&](std::int64_t b, std::int64_t h, std::int64_t t) {
    const std::int64_t first = arguments.shape.first_key(t);
    Values score(at(t + 1));
    for (std::int64_t s = first; s <= t; ++s)
      score[at(s)] = layout.score_scale() * dot(qkv, layout.packed(0, b, t, h), qkv, layout.packed(1, b, s, h), D);
    const double largest = *std::max_element(score.begin() + first, score.end());
    double sum = 0;
    for (std::int64_t s = first; s <= t; ++s) sum += std::exp(score[at(s)] - largest);
    const double lse = largest + std::log(sum);
    log_sum_exp[at(layout.log_sum_exp(b, h, t))] = lse;
    for (std::int64_t s = first; s <= t; ++s) {
      const double factor = mask_factor(arguments, b, h, t, s);
      add_scaled(out, layout.out(b, t, h), factor * std::exp(score[at(s)] - lse), qkv, layout.packed(2, b, s, h), D);
    }
  });
  write(arguments.out, out);
  write(arguments.log_sum_exp, log_sum_exp);
}

void attention_gradient(const ops::AttentionGradient& arguments) {
  const Layout layout{arguments.shape};
  const std::int64_t D = arguments.shape.channels;
  const Values qkv = read(arguments.qkv), log_sum_exp = read(arguments.log_sum_exp), dout = read(arguments.dout);
  Values dqkv(at(arguments.dqkv.elements()));
  for_each_query(arguments.shape, [&](std::int64_t b, std::int64_t h, std::int64_t t) {
    const std::int64_t q = layout.packed(0, b, t, h), gradient = layout.out(b, t, h);
    const std::int64_t first = arguments.shape.first_key(t);
    Values p(at(t + 1)), dp(at(t + 1));
    double average = 0;  // of dp under p; equals dout . out, from which the fast backends take it
    for (std::int64_t s = first; s <= t; ++s) {
      const std::int64_t k = layout.packed(1, b, s, h), v = layout.packed(2, b, s, h);
      const double factor = mask_factor(arguments, b, h, t, s);
      p[at(s)] = std::exp(layout.score_scale() * dot(qkv, q, qkv, k, D) - log_sum_exp[at(layout.log_sum_exp(b, h, t))]);
      dp[at(s)] = factor * dot(dout, gradient, qkv, v, D);
      average += p[at(s)] * dp[at(s)];
      add_scaled(dqkv, v, factor * p[at(s)], dout, gradient, D);
    }
    for (std::int64_t s = first; s <= t; ++s) {
      const std::int64_t k = layout.packed(1, b, s, h);
      const double dscore = p[at(s)] * (dp[at(s)] - average) * layout.score_scale();
      add_scaled(dqkv, q, dscore, qkv, k, D);
      add_scaled(dqkv, k, dscore, qkv, q, D);
    }
  });
  write(arguments.dqkv, dqkv);
}

}  // namespace penstock::reference
