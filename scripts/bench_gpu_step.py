# SPDX-License-Identifier: Apache-2.0
"""The training step that scripts/bench_gpu measures: its models, its optimizer, and its least possible work."""

import re
from typing import NamedTuple

PEAK = 989e12  # FLOP/s, the H200's dense bfloat16 rate by its maker
DIRECTIONS = ("forward", "input gradient", "weight gradient")
# Of the deck, and of PyTorch's AdamW. The rate rises at first and stays low, so that rounding stays rounding: at 3e-5
# two runs of PyTorch on 1.3B come to losses that are 2 % apart, at 1e-5 0.06 %.
OPTIMIZER = {
    "learning_rate": 1e-5, "warmup": 10, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weight_decay": 0.1, "clip": 1.0,
}  # fmt: skip


class Model(NamedTuple):
    name: str
    layers: int
    width: int
    heads: int
    sequence: int
    batch: int
    vocabulary: int = 50257

    def shape(self):
        return f"L{self.layers} C{self.width} H{self.heads} T{self.sequence} B{self.batch}"

    def tokens(self):
        return self.batch * self.sequence

    def parameters(self):
        of_a_block = 12 * self.width**2 + 13 * self.width
        return (self.vocabulary + self.sequence + 2) * self.width + self.layers * of_a_block

    def flops_of_a_token(self):
        """6 N + 12 L C T, N without biases and norms: the count that others state their MFU by."""
        parameters = 12 * self.layers * self.width**2 + (self.vocabulary + self.sequence) * self.width
        return 6 * parameters + 12 * self.layers * self.width * self.sequence

    def table_rows(self):
        """Of the token table as Penstock holds it."""
        return -(-self.vocabulary // 128) * 128

    def products(self):
        C = self.width
        return (
            Product("qkv", 3 * C, C, self.layers),
            Product("output", C, C, self.layers),
            Product("up", 4 * C, C, self.layers),
            Product("down", C, 4 * C, self.layers),
            Product("head", self.table_rows(), C, 1),
        )


class Product(NamedTuple):
    """y[tokens, outputs] = x[tokens, inputs] W[outputs, inputs]^T, and its two gradients, so many times a step."""

    name: str
    outputs: int
    inputs: int
    times: int


MODELS = (
    Model("124M", 12, 768, 12, 1024, 32),
    Model("1.3B", 24, 2048, 16, 2048, 8),
    Model("1.56B", 48, 1600, 25, 1024, 16),
)


def models_called(name):
    """Those of MODELS whose name begins so, or the one whose shape is said: L2C256H4T256B4."""
    shape = re.fullmatch(r"L(\d+)C(\d+)H(\d+)T(\d+)B(\d+)", name.replace(" ", ""))
    if shape:
        return [Model("own", *map(int, shape.groups()))]
    return [model for model in MODELS if model.name.startswith(name)]


class Ceilings(NamedTuple):
    """Seconds of each product in DIRECTIONS, by its name, and of one attention, forward and backward; bytes/s of a copy."""

    products: dict
    attention: list
    attention_by: str
    copy: float


class Term(NamedTuple):
    name: str
    seconds: float


def necessary_bytes(model):
    """What a step must read and write in kernels that are no products, by what it is for.

    u is one activation, tokens x C in bfloat16. A product and the attention read and write their own operands in the time
    measured for them; an epilogue (bias, GELU, its slope, a bias' gradient) adds only what the plain product would not touch.
      stream, norms   forward: each of the 2 L branches is read and added to the stream, which is read and written, and the
                      norm behind it is written (4 u); the embedding reads its rows, writes stream and first norm (3 u).
                      Backward: a norm's gradient reads its output's gradient and its input, reads what comes down the stream
                      and writes the sum (4 u, 2 L times; 3 u for the last norm); the embedding's reads the stream's (1 u).
      GELU            the pre-activation is kept as well as the output (4 u written), and read again for the slope (4 u).
      logits, loss    one read and one write of tokens x table rows in bfloat16: the gradient takes the logits' place.
      norm, AdamW     a bfloat16 gradient read for the norm and again for the update (4 bytes a parameter), master weight and
                      two moments in float32 read and written (24), the bfloat16 weight written (2).
    Left out: means and deviations of rows, losses, positions, tokens, and the rows of the token table's gradient that the
    embedding's gradient is added to. A product that adds the stream in its epilogue would save u a branch: nobody's does.
    """
    u = 2 * model.tokens() * model.width
    return {
        "stream and norms": (16 * model.layers + 7) * u,
        "GELU": 8 * model.layers * u,
        "logits and loss": 4 * model.tokens() * model.table_rows(),
        "gradient norm and AdamW": 30 * model.parameters(),
    }


def bound(model, ceilings):
    """Terms whose sum no step of this shape can go below with these products, this attention and this memory."""
    terms = [Term(f"product {p.name}", p.times * sum(ceilings.products[p.name])) for p in model.products()]
    terms.append(Term("attention", model.layers * sum(ceilings.attention)))
    return terms + [Term(name, count / ceilings.copy) for name, count in necessary_bytes(model).items()]


def total_seconds(terms):
    return sum(term.seconds for term in terms)


def bound_text(model, ceilings, measured_seconds):
    """The ceilings and what they sum up to, as Markdown."""
    terms = {term.name: term.seconds for term in bound(model, ceilings)}
    rows = ["| at its ceiling | forward | input gradient | weight gradient | times | ms a step |", "|---|---|---|---|---|---|"]
    for product in model.products():
        operations = 2 * model.tokens() * product.outputs * product.inputs
        rates = [f"{operations / seconds * 1e-12:.0f} TFLOP/s" for seconds in ceilings.products[product.name]]
        shape = f"{model.tokens()} x {product.outputs} x {product.inputs}"
        seconds = terms.pop(f"product {product.name}")
        rows.append(f"| {product.name}, {shape} | {' | '.join(rates)} | {product.times} | {seconds * 1e3:.2f} |")
    forward, backward = (f"{seconds * 1e3:.3f} ms" for seconds in ceilings.attention)
    attention = terms.pop("attention")
    rows.append(f"| attention, {ceilings.attention_by} | {forward} | {backward} | | {model.layers} | {attention * 1e3:.2f} |")
    for name, count in necessary_bytes(model).items():
        rows.append(f"| {name}: {count * 1e-9:.2f} GB at {ceilings.copy * 1e-12:.2f} TB/s | | | | | {terms[name] * 1e3:.2f} |")
    least = total_seconds(bound(model, ceilings))
    rows.append(f"| bound; the step of {measured_seconds * 1e3:.1f} ms reaches {least / measured_seconds:.1%} of it "
                f"| | | | | {least * 1e3:.2f} |")  # fmt: skip
    return "\n".join(rows)
