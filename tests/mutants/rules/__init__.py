"""The rules that matter, each with the mutation that breaks it, by what they promise."""

from tests.mutants.mutation import Mutation
from tests.mutants.rules import access, matching, meaning, money, receiving, timing, watching, writing

MUTATIONS: tuple[Mutation, ...] = (
    *receiving.MUTATIONS,
    *writing.MUTATIONS,
    *timing.MUTATIONS,
    *matching.MUTATIONS,
    *meaning.MUTATIONS,
    *money.MUTATIONS,
    *access.MUTATIONS,
    *watching.MUTATIONS,
)
