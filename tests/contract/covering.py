# SPDX-License-Identifier: Apache-2.0
"""Covering arrays: few combinations of many factors that hold every possible pair of two factors' values."""
import itertools
import random


class Covering:
    """`factors` is {name: values}; the first values are preferred. `is_possible` judges a combination or a part of one. As
    values are added, its answer may change from True to False only."""

    ATTEMPTS = 12  # with other choices among equals; the shortest array is taken

    def __init__(self, factors, is_possible):
        self.factors, self.is_possible = factors, is_possible

    def pairs_of(self, combination):
        return {frozenset(pair) for pair in itertools.combinations(sorted(combination.items(), key=str), 2)}

    def all_pairs(self):
        """Possible or not."""
        for (a, its), (b, others) in itertools.combinations(self.factors.items(), 2):
            for x, y in itertools.product(its, others):
                yield {a: x, b: y}

    def uncovered(self, array):
        """The pairs that no combination of the array holds."""
        held = set().union(*map(self.pairs_of, array))
        return [pair for pair in self.all_pairs() if not self.pairs_of(pair) <= held]

    def array(self, given=()):
        """Combinations that hold every possible pair; the first ones complete those that are given in part."""
        return min((self.attempt(given, random.Random(seed)) for seed in range(self.ATTEMPTS)), key=len)

    def attempt(self, given, source):
        missing = {next(iter(self.pairs_of(pair))) for pair in self.all_pairs()}
        array = []
        for start in given:
            array.append(self.completed(start, missing, source))
            assert array[-1] is not None, f"{start} is not possible"
            missing -= self.pairs_of(array[-1])
        while missing:
            start = min(missing, key=lambda pair: sorted(map(str, pair)))
            combination = self.completed(dict(start), missing, source)
            if combination is None:  # not possible
                missing.discard(start)
            else:
                array.append(combination)
                missing -= self.pairs_of(combination)
        return array

    def completed(self, part, missing, source):
        """The possible combination with this part that holds most missing pairs, as a greedy search finds it."""
        if not self.is_possible(part):
            return None
        free = [name for name in self.factors if name not in part]
        if not free:
            return part
        gains = {}
        for name in free:
            for place, value in enumerate(self.factors[name]):
                if self.is_possible({**part, name: value}):
                    new = sum(frozenset({(name, value), pair}) in missing for pair in part.items())
                    gains[name, value] = (new, -place, source.random())
        for name in free:  # a factor that has no value left: another way
            if not any(key[0] == name for key in gains):
                return None
        name = max(gains, key=gains.get)[0]
        for value in sorted((v for n, v in gains if n == name), key=lambda v: gains[name, v], reverse=True):
            found = self.completed({**part, name: value}, missing, source)
            if found is not None:
                return found
        return None
