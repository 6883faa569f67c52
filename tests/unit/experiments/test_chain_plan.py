"""What the chain-length experiment will do is decided, seeded and complete before anything runs."""

from collections import Counter

import pytest

from experiments import chain_plan
from experiments.base import Options, Profile
from experiments.chain_plan import ChainConfig, Phase, resolve
from testbed.model.errors import UsageError

CONFIG = resolve(Options())
PHASE = Phase("node2", "pooled", 0.5)


def test_profile_paper_is_the_papers_experiment():
    config = resolve(Options(profile=Profile.PAPER))
    assert config.lengths == (1, 2, 3, 4, 5, 6, 7, 8)
    assert config.pairs == 100
    assert config.delays_ms == (0.0, 0.25, 0.5)  # 0.5 ms as round trip and as one way
    assert config.placements == ("node2", "spread")
    assert config.upstreams == ("pooled", "per-call")


def test_every_combination_is_a_cell_once():
    config = resolve(Options(profile=Profile.PAPER))
    found = [cell for phase in chain_plan.phases(config) for cell in chain_plan.cells(config, phase)]
    assert len(found) == len(set(found)) == 8 * 3 * 2 * 2
    assert len({cell.slug for cell in found}) == len(found)


def test_placements_stay_together_and_the_order_follows_the_seed():
    config = resolve(Options(profile=Profile.PAPER))
    order = chain_plan.phases(config)
    assert len({phase.placement for phase in order[: len(order) // 2]}) == 1
    assert chain_plan.phases(config) == order
    assert any(chain_plan.phases(resolve(Options(profile=Profile.PAPER, seed=seed))) != order for seed in range(2, 6))


def test_a_cell_interleaves_both_routes_pair_by_pair():
    cell = chain_plan.Cell(PHASE, 6)
    planned = chain_plan.requests(CONFIG, cell)
    assert Counter(row.arm for row in planned if not row.warmup) == {"gateway": CONFIG.pairs, "direct": CONFIG.pairs}
    for first, second in zip(planned[::2], planned[1::2], strict=True):
        assert {first.arm, second.arm} == {"gateway", "direct"}
        assert first.block == second.block
    firsts = Counter(row.arm for row in planned[::2])
    assert min(firsts.values()) > 0  # neither route always goes first


def test_the_control_takes_part_at_its_length_alone():
    arms = {length: chain_plan.arms_of(CONFIG, chain_plan.Cell(PHASE, length)) for length in CONFIG.lengths}
    assert [length for length, taking in arms.items() if chain_plan.CONTROL_ARM in taking] == [3]


def test_warmup_is_its_own_blocks_on_top_of_the_repetitions():
    planned = chain_plan.requests(CONFIG, chain_plan.Cell(PHASE, 2))
    warm = {row.block for row in planned if row.warmup}
    assert warm == set(range(CONFIG.warmup_blocks))
    assert len({row.block for row in planned if not row.warmup}) == CONFIG.blocks


def test_a_request_names_the_chain_its_length_and_who_must_answer():
    row = chain_plan.request(chain_plan.Cell(PHASE, 3), chain_plan.DIRECT_ARM, 7, 1, warmup=False)
    assert row.url == "http://10.96.0.1:8080/function/chain-1.chain-direct?length=3"
    assert row.expected == "chain-1 chain-2 chain-3"
    assert row.call_id == "node2-pooled-d0.5-n3-7"


def test_call_ids_are_unique_over_the_whole_run():
    ids = Counter()
    for phase in chain_plan.phases(CONFIG):
        ids.update(row.call_id for row in chain_plan.first_use(CONFIG, phase))
        for cell in chain_plan.cells(CONFIG, phase):
            ids.update(row.call_id for row in chain_plan.requests(CONFIG, cell))
    assert max(ids.values()) == 1


def test_kept_connections_are_all_opened_before_the_first_cell():
    """A server of 32 threads meets every one of them."""
    for connection, least in (("per-call", 1), ("keepalive", 32)):
        config = resolve(Options(connection=connection, lengths=(1, 3)))
        planned = chain_plan.first_use(config, chain_plan.phases(config)[0])
        for arm in chain_plan.ARMS:
            assert sum(request.arm == arm.name and "length=3" in request.url for request in planned) >= least


def test_zero_is_always_calibrated_and_delays_say_what_they_mean():
    assert resolve(Options(delays_ms=(0.5,))).calibrated_delays_ms == (0.0, 0.5)
    assert chain_plan.delay_meaning(0.25) == "0.25 ms one way = 0.5 ms round trip"
    assert chain_plan.delay_meaning(0.0) == "no delay"


def test_the_configuration_survives_its_file_form():
    assert ChainConfig.from_json(CONFIG.to_json()) == CONFIG


@pytest.mark.parametrize(("asked", "blocks", "per_block"), [(100, 50, 2), (24, 12, 2), (6, 6, 1), (7, 7, 1)])
def test_repetitions_become_at_least_six_blocks(asked, blocks, per_block):
    config = resolve(Options(repetitions=asked))
    assert (config.blocks, config.pairs_per_block) == (blocks, per_block)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(lengths=(0,)), "a chain of length 0 does not exist; choose lengths from 1 to 16"),
        (Options(lengths=(17,)), "a chain of length 17 does not exist"),
        (Options(delays_ms=(-1.0,)), "a one-way delay of -1 ms is outside 0 to 100 ms"),
        (Options(placements=("node9",)), "there is no placement 'node9'; choose from node2, spread"),
        (Options(upstreams=("warm",)), "there is no gateway upstream 'warm'; choose from pooled, per-call"),
        (Options(connection="two"), "there is no connection 'two'; choose from per-call, keepalive"),
        (Options(plant="roses"), "there is no plant 'roses'; choose from extra-1ms-direct, wrong-delay, cpu-hog"),
        (Options(repetitions=3), "3 repetitions are too few for an interval; ask for 6 or more"),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(options, sentence):
    with pytest.raises(UsageError, match=sentence.split(";", maxsplit=1)[0].replace("(", r"\(")):
        resolve(options)
