"""Tables in the README and the docs hold what `bench/results` and the bundle hold, rounded."""

import json
import re
from itertools import takewhile
from pathlib import Path

import pytest

from affectstream.engines.bundle.folder import POCKET

ROOT = Path(__file__).parents[1]
RESULTS = "docs/background/results.md"
NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+")


def result(name, machine="epyc_2core"):
    return json.loads((ROOT / f"bench/results/{name}_{machine}.json").read_text())


def table(page, head):
    """Cells of each row of the table whose first line begins with `head`, by the name in the first cell."""
    lines = (ROOT / page).read_text().splitlines()
    (first,) = (number for number, line in enumerate(lines) if line.startswith(head))
    rows = takewhile(lambda line: line.startswith("|"), lines[first + 2 :])
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {re.sub(r"`| \(.*", "", name): rest for name, *rest in cells}


def agree(cells, values):
    """Hold the numbers in `cells` to `values`, rounded to the places that are shown; None is not shown."""
    shown, meant = NUMBER.findall(" ".join(cells)), [value for value in values if value is not None]
    assert len(shown) == len(meant), (cells, meant)
    for text, value in zip(shown, meant, strict=True):
        half = 0.5 * 10.0 ** -len(text.partition(".")[2])
        assert abs(float(text.replace(",", "")) - value) <= half * 1.0001, (cells, value)


def test_parity():
    found = result("parity", "xeon_2core")["fp16"]
    names = {
        "faces": "face_encoder",
        "windows of voice": "voice_encoder",
        "lines": "text_encoder",
        "hops of these, all mixtures of modalities": "mixed hops",
        "cells of the detector that score over 0.1, 13 recordings": "face_detector cells, recordings",
        "hops of the 13 recordings, faces cut where the FP32 detector finds them": "hops of recordings",
        "the same hops with the detector in FP16 too": "hops, were the detector in FP16",
    }
    rows = table("docs/guides/engines.md", "| inputs | number | clear |")
    assert set(rows) == set(names)
    for name, cells in rows.items():
        one, other = (side["parts"] | side for side in (found["onnxruntime"], found["torch"]))
        one, other = one[names[name]], other[names[name]]
        differences = [one["largest_difference"], other["largest_difference"]]
        agree(cells, [one["inputs"], one["clear"], *differences])
        assert ["**" in cell for cell in cells[2:]] == [not one["passed"], not other["passed"]]
        if one["passed"]:
            assert one["agreement"] == other["agreement"] == 1.0  # "every label agrees"


def test_parity_of_everything():
    sides = [side["parts"] for side in result("parity", "xeon_2core")["fp16"].values()]
    used = ("face_encoder", "voice_encoder", "text_encoder", "mixed hops", "hops of recordings")
    totals = [sum(sides[0][name][key] for name in used) for key in ("inputs", "clear")]
    ((inputs, cells),) = table(RESULTS, "| inputs | with a clear label").items()
    agree([inputs, cells[0]], totals)
    assert cells[1] == "0" and all(
        sides[n][name]["agreement"] == 1 for n in (0, 1) for name in used
    )
    assert max(part["largest_difference"] for side in sides for part in side.values()) < float(
        cells[2]
    )


def test_plans():
    found = {(plan["engine"], plan["precision"]): plan for plan in result("plans")["plans"]}
    rows = table("docs/guides/engines.md", "| network | build FP16 |")
    assert set(rows) == {name for name, _ in found}
    for name, cells in rows.items():
        half, single = found[name, "fp16"], found[name, "fp32"]
        layers = [half["layers"]["half"], half["layers"]["float"]]
        error = re.search(r"largest error (\S+) in .* reach (\S+)", half["parity"])
        sizes = [half["plan_mb"], single["plan_mb"]]
        errors = map(float, error.groups())
        agree(cells, [half["build_s"], single["build_s"], *sizes, *layers, *errors])


def test_live():
    sources = result("live")["sources"]
    found = {row["source"].partition(" (")[0]: row for row in sources if "not_measured" not in row}
    rows = table("docs/guides/live.md", "| source | opens in |")
    assert set(rows) == set(found)
    for name, cells in rows.items():
        row = found[name]
        delays = [row["way_ms"], *(row["age_ms"] or ()), *(row["latency_ms"] or ())]
        rest = [row["skew_ms"], row["lost"], 100 * row["cpu"]]
        agree(cells, [row["opens_s"], row["events_s"], *delays, *rest])


def test_soak():
    runs = {
        "60 min, before memory was returned": "soak_60min_before_trim",
        "60 min, since then": "soak_60min",
    }
    rows = table("docs/guides/serve.md", "| run | memory after a minute |")
    assert set(rows) == set(runs)
    for name, cells in rows.items():
        found = result(runs[name])["figures"]
        counts = [found["opened"], found["failed"], found["events"]]
        left = ("memory_mb", "threads", "tasks", "files")
        held = [found[when][what] for what in left for when in ("before", "after")]
        agree(cells, [found["memory_first_mb"], found["memory_growth_mb"], *counts, *held])
        assert ("**" in cells[1]) == (found["memory_growth_mb"] > 50)  # the aim
        assert not found["after"]["sessions"]


def test_reports():
    found = {}
    for row in result("report")["rows"]:
        minutes = row["seconds"] / 60
        length = f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"
        length = length if minutes >= 1 else f"{row['seconds']:g} s"
        people = f"{row['people']} {'person' if row['people'] == 1 else 'people'}"
        found[f"{length}, {people}"] = row
    rows = table("docs/guides/report.md", "| recording | report |")
    assert set(rows) == set(found)
    for name, cells in rows.items():
        agree(cells, [found[name][key] for key in ("mb", "write_cpu_s", "open_s")])


def test_fusion():
    found = result("fusion")
    rows = table("docs/guides/training.md", "| | accuracy | less the best member's |")
    assert set(rows) == set(found["rows"])
    for name, cells in rows.items():
        row = found["rows"][name]
        told = [row[key]["accuracy"] for key in ("less_best_member", "less_product") if key in row]
        told = [] if name in ("cnn", "mel_cnn") else told  # members have their own figure only
        figures = [row["figures"]["accuracy"], *told]
        agree(cells, [one[key] for one in figures for key in ("value", "low", "high")])


def test_fusions_beside_the_source():
    found = result("fusion")["rows"]
    rows = table("docs/guides/evaluate.md", "| network | source | source, % |")
    for name in ("late_fusion", "enhanced_late_fusion"):
        accuracy = found[name]["figures"]["accuracy"]
        agree([rows[name][2]], [100 * accuracy[key] for key in ("value", "low", "high")])


def test_fusion_of_conflicts():
    found = result("fusion")["conflicts"]["rows"]
    rows = table("docs/guides/training.md", "| | the voice's label | the face's label")
    assert set(rows) == set(found)
    for name, cells in rows.items():
        row = found[name]
        shares = [100 * row[key] for key in ("anchor", "other", "neither")]
        agree(cells, [*shares, row["confidence"], row["agreeing_confidence"]])


@pytest.mark.parametrize("page", ["README.md", RESULTS])
def test_speed_and_memory(page):
    speed, memory = result("score"), result("memory")
    measured = [
        speed["realtime"],
        speed["cpu_ratio"],
        speed["wall_ratio"],
        memory["growth_mb"],
        memory["peak_mb"],
    ]
    rows = table(page, "| speed on 2 cores").values()
    for cells, value in zip(rows, measured, strict=True):
        agree([cells[0]], [value])


def test_steps_of_training_the_face_encoder():
    found = json.loads((ROOT / "bench/results/face_training_h200.json").read_text())
    rows = table(RESULTS, "| training | epochs |")
    assert list(rows) == [row["training"] for row in found["rows"]]
    for row in found["rows"]:
        shares = [
            row[f"{kind}{name}"] for kind in ("", "reference_") for name in ("accuracy", "uar")
        ]
        agree(rows[row["training"]], [row["epochs"], *(100 * share for share in shares)])
    networks = table(RESULTS, "| network | accuracy")
    assert list(networks) == [row["network"] for row in found["networks"]]
    for row in found["networks"]:
        agree(networks[row["network"]], [100 * row["accuracy"], 100 * row["uar"]])


def test_speech_gates():
    names = {
        "noise, tones, music, claps and clicks": "no speech: seconds that pass",
        "clean speech": "clean speech: seconds that pass",
        "speech 10 dB over noise, music or hum": (
            "speech 10 dB over noise, music, hum: seconds that pass"
        ),
        "speech as loud as these": "speech 0 dB over noise, music, hum: seconds that pass",
    }
    measured = [
        {
            measure["name"]: (measure["n"], measure["value"])
            for measure in result(f"nonspeech_{gate}")["sections"]["nonspeech"]["measures"]
        }
        for gate in ("silero", "webrtc")
    ]
    rows = table("docs/guides/score.md", "| | `silero` | `webrtc` |")
    assert len(rows) == len(names)
    for head, cells in rows.items():
        name, _, seconds = head.rpartition(", ")
        found = [of_gate[names[name]] for of_gate in measured]
        agree([seconds], [found[0][0]])
        agree(cells, [value for _, value in found])


def test_faces_and_degraded_faces():
    measured = {row["pictures"]: row for row in result("face_encoder")["agreements"]}
    rows = table(RESULTS, "| pictures | n |")
    assert set(rows) == set(measured)
    for name, cells in rows.items():
        row = measured[name]
        accuracy = [100 * row["accuracy"][key] for key in ("value", "low", "high")]
        agree(cells[:1], [row["count"]])
        agree(cells[1:], [*accuracy, 100 * row["uar"]["value"]])


@pytest.mark.parametrize("page", ["README.md", RESULTS])
def test_what_pocket_reaches(page):
    manifest = json.loads((POCKET / "bundle.json").read_text())
    found = {}
    for row in manifest["results"]:  # the first of a metric is on pictures as they are
        found.setdefault((row["part"], row["metric"]), row["value"])
    shown = {name: cells[1] for name, cells in table(page, "| part | data |").items()}
    values = {
        "face detector": 100 * found["face_detector", "recall at IoU 0.5"],
        "face encoder": 100 * found["face_encoder", "accuracy"],
        "voice encoder": 100 * found["voice_encoder", "uar"],
        "text encoder": found["text_encoder", "weighted_f1"],
    }
    assert set(shown) == set(values)
    for name, value in values.items():
        agree([shown[name].partition("(")[0].replace("F1", "")], [value])
    assert not found["face_detector", "false alarms"]


def test_calibration_of_pocket():
    card = {n: cells[2] for n, cells in table("engines/pocket/CARD.md", "| modalities |").items()}
    assert {n: cells[0] for n, cells in table(RESULTS, "| modalities | ECE").items()} == card


GPU = json.loads((ROOT / "bench/results/gpu_h200.json").read_text())["stages"]


def test_networks_on_a_gpu():
    lines = (ROOT / "docs/guides/benchmarks.md").read_text().splitlines()
    (first,) = (n for n, line in enumerate(lines) if line.startswith("| network, FP16 |"))
    rows = list(takewhile(lambda line: line.startswith("|"), lines[first + 2 :]))
    measured = [row for stage in ("rivals", "large") for row in GPU[stage]["rows"]]
    assert len(rows) == 9
    for line in rows:
        name, sessions, batch, *cells = (cell.strip(" `") for cell in line.strip("|").split("|"))
        for way, cell in zip(("torch eager", "torch cuda", "onnxruntime"), cells, strict=True):
            (row,) = (
                r
                for r in measured
                if r.get("part") == name
                and r["runtime"].startswith(way)
                and r.get("sessions") == int(sessions)
            )
            assert row["batch"] == int(batch.split(",")[0])
            agree([cell.strip("*")], [row["latency"]["median"]])
            assert cell.endswith("*") == (not row["stable"])


def test_decoding_on_a_gpu():
    rows = table("docs/guides/benchmarks.md", "| frames a second |")
    ways = ("cpu", "cpu, to RGB", "nvdec, to the host", "nvdec, to the host, to RGB")
    assert set(rows) == {row["size"] for row in GPU["decode"]["rows"]}
    for size, cells in rows.items():
        found = {
            r["way"]: r["frames_per_s"]
            for r in GPU["decode"]["rows"]
            if r["size"] == size and "frames_per_s" in r
        }
        agree(cells, [found[way] for way in ways])


VOICES = {"ravdess": "RAVDESS 17-20", "emodb": "EMO-DB 13 and 14", "nemo": "nEMO, two speakers"}


def test_voices():
    found = result("voice_encoder")
    before = {(h["corpus"], h["clips"]): h for h in found["old"]["hearings"]}
    rows = table(RESULTS, "| corpus and clips | n |")
    measured = {
        f"{VOICES[h['corpus']]}, {h['clips']}": h
        for h in found["new"]["hearings"]
        if h["corpus"] in VOICES
    }
    assert set(rows) == set(measured)
    for name, cells in rows.items():
        row = measured[name]
        uar = [100 * row["uar"][key] for key in ("value", "low", "high")]
        old = before[row["corpus"], row["clips"]]["uar"]["value"]
        agree(cells, [row["count"], *uar, 100 * row["accuracy"]["value"], 100 * old])


def test_voices_by_emotion():
    found = result("voice_encoder")["new"]
    rows = table(RESULTS, "| recall, % |")
    assert set(rows) == set(VOICES.values())
    for corpus, name in VOICES.items():
        recalls = [found["recalls"][corpus].get(label) for label in found["labels"]]
        shown = [cell for cell in rows[name] if cell]
        agree(shown, [100 * recall for recall in recalls if recall is not None])


def test_corpora_that_were_left_out():
    found = result("voice_encoder")["left_out"]
    rows = table(RESULTS, "| left out | n |")
    assert set(rows) == {VOICES[corpus].split()[0].rstrip(",") for corpus in found}
    for corpus, row in found.items():
        new = row["new"]
        uar = [100 * new["uar"][key] for key in ("value", "low", "high")]
        counts = [new[key] for key in ("count", "speakers", "emotions")]
        cells = rows[VOICES[corpus].split()[0].rstrip(",")]
        agree(cells, [*counts, *uar, 100 * row["earlier"]["uar"]["value"]])


def test_two_hours_are_the_same_in_one_process_and_in_ranges():
    one, two = (result(f"memory_two_{kind}", "xeon_2core") for kind in ("hours", "processes"))
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["events_sha256"] == two["events_sha256"]


def test_face_detectors():
    rows = table("docs/reference/recipes.md", "| detector | upright | 90 |")
    found = result("detector")["detectors"]
    assert len(rows) == len(found)
    for cells, one in zip(rows.values(), found, strict=True):
        measured = [one["upright"], *one["turned"], one["alarms"], one["others"], one["dark"]]
        agree(cells, [*measured, one["roll_slope"], one["milliseconds"]])


def test_batch():
    found = result("batch", "xeon_2core")
    one, two = found["runs"]
    shown = table("docs/guides/batch.md", "| 200 recordings")
    assert found["recordings"] == 200 and found["damaged"] == 12 and found["listed"] == 11
    assert found["same_results"] and found["shards_same_results"]
    kills = result("batch_kills", "xeon_2core")
    assert kills["recordings"] == 200 and kills["damaged"] == 12 and kills["kills"] == 40
    assert kills["resumed_same_results"] and kills["rescored"] == 0 and not kills["differing"]
    node = found["killed_node"]
    assert (node["finished_before"], node["recordings"]) == (64, 212)
    assert (node["lost"], node["scored_twice"], node["differing"]) == (0, 0, [])
    agree(
        shown["seconds of media for a second of processor time"],
        [run["media_s"] / run["cpu_s"] for run in (one, two)],
    )
    agree(shown["memory at its peak, in MB"], [run["peak_mb"] for run in (one, two)])
    agree(
        shown["times real time, on 2 cores"],
        [run["media_s"] / run["wall_s"] for run in (one, two)],
    )
    alone_s = found["decode"]["wall_s"] + found["inference"]["wall_s"]
    agree(
        shown["wall time, against decoding alone plus inference alone"],
        [run["wall_s"] / alone_s for run in (one, two)],
    )


def calibration_error(of):
    return [of[key] for key in ("ece", "chance", "debiased", "low", "high")]


def test_confidence_of_each_set_of_modalities():
    measured = result("confidence_pocket_0.5.0")["rows"]
    rows = table(RESULTS, "| modalities | accuracy | ECE clean |")
    assert set(rows) == set(measured)
    for name, cells in rows.items():
        row = measured[name]
        agree(cells[:1], [100 * row["accuracy"]])
        for first, kind in ((1, "clean"), (3, "degraded")):
            agree(cells[first : first + 2], calibration_error(row["reliability"][kind]))
        agree(cells[5:7], [100 * row["with_label"], 100 * row["accuracy_of_labels"]])
        gaps = [row[key] for key in ("less_best", "less_product") if key in row]
        agree(cells[7:], [100 * gap[part] for gap in gaps for part in ("value", "low", "high")])
    rows = table(RESULTS, "| `pocket` as it is | ECE clean |")
    assert set(rows) == set(measured)
    for name, cells in rows.items():
        own = measured[name]["bundle"]
        agree(cells[:2], calibration_error(own["clean"]))
        agree(cells[2:4], calibration_error(own["degraded"]))
        agree(cells[4:], [100 * own[kind]["over"] for kind in ("clean", "degraded")])


def test_confidence_in_people_and_degradations():
    measured = result("confidence_pocket_0.5.0")["rows"]
    rows = table(RESULTS, "| voice of | samples |")
    assert set(rows) == set(measured["voice"]["by_person"])
    for name, cells in rows.items():
        row = measured["voice"]["by_person"][name]
        agree(cells, [row["samples"], 100 * row["accuracy"], 100 * row["over"]])
    rows = table(RESULTS, "| degraded | samples |")
    for name, cells in rows.items():
        modality, kind = name.split(": ")
        row = measured[modality]["degradations"][kind.replace(" ", "_")]
        interval = [100 * row[key] for key in ("over", "over_low", "over_high")]
        agree(cells, [row["samples"], 100 * row["accuracy"], *interval])
    assert len(rows) == sum(len(row.get("degradations", ())) for row in measured.values())


def test_the_comparison_of_voices():
    found = result("voices_compared")
    (task,) = found["tasks"]
    rows = table("docs/guides/evaluate.md", "| network | accuracy | UAR | mean rank |")
    assert list(rows) == [network["name"] for network in found["networks"]]
    for network, rank in zip(found["networks"], task["friedman"]["mean_ranks"], strict=True):
        shown = []
        for name in ("accuracy", "uar"):
            metric = task["metrics"][network["name"]][name]
            shown += [metric["value"], metric["low"], metric["high"]]
        agree(rows[network["name"]], [*shown, rank, network["parameters"]])
    rows = table("docs/guides/evaluate.md", "| difference | accuracy | over people |")
    for pair, corrected in zip(task["pairs"], task["corrected"], strict=True):
        cells = rows[f"{pair['second']} less {pair['first']}"]
        difference, paired = pair["difference"]["accuracy"], pair["paired"]
        numbers = [difference["value"], difference["low"], difference["high"], paired["mean"]]
        agree(cells, [*numbers, paired["t_p"], corrected, pair["mcnemar"]["p"]])


def test_teaching():
    found = result("teach")["teaching"]
    rows = table("docs/guides/teach.md", "| taught with | coded minutes |")
    assert set(rows) == set(found)
    for name, cells in rows.items():
        one, values = found[name]["comparison"], []
        for metric in ("accuracy", "ece", "labeled_accuracy"):
            for side in (one["before"][metric], one["after"][metric]):
                if metric == "accuracy":
                    values += [100 * side[end] for end in ("value", "low", "high")]
                else:
                    values.append(side["value"] * (1 if metric == "ece" else 100))
        agree(cells, [found[name]["coded_minutes"], one["units"], *values])


def test_teaching_the_encoders():
    found = result("teach")["encoders"]
    names = {"recalibrated": "calibration", "head": "head", "head and encoders": "encoders"}
    rows = table("docs/guides/teach.md", "| taught with, what may change | accuracy |")
    assert len(rows) == 4 * len(found)
    for name, one in found.items():
        sides = {"as it is": one["before"]}
        sides |= {shown: one["steps"][step]["after"] for shown, step in names.items()}
        for shown, side in sides.items():
            values = []
            for metric, factor in (("accuracy", 100), ("uar", 100), ("log_loss", 1)):
                values += [factor * side[metric][end] for end in ("value", "low", "high")]
            chose = one["folds_that_chose_the_encoders"] if shown == "head and encoders" else []
            agree(rows[f"{name}, {shown}"], [*values, side["ece"]["value"], *chose])


def test_the_loop_by_hand_and_the_export_of_imotions():
    found = result("teach")
    loop, export = found["loop"], found["imotions"]
    text = " ".join((ROOT / "docs/guides/teach.md").read_text().split())
    assert f"took {loop['correcting_seconds']} s with looking" in text
    assert f"{loop['stretches']} stretches" in text and f"{loop['hops']} hops" in text
    assert f"{loop['agreement']['agreement']:.0%}".replace("%", " %") in text
    assert f"kappa {loop['agreement']['kappa']:.2f}".replace("0.", ".") in text
    before, after = loop["fourth"]["before"], loop["fourth"]["after"]
    assert before == after and f"right in {before['agreement']:.0%}".replace("%", " %") in text
    assert loop["outcome"] == "does not help"
    text = " ".join((ROOT / "docs/guides/agree.md").read_text().split())
    near, agreement = (
        f"{export[name]:.0%}".replace("%", " %") for name in ("within_half_a_second", "agreement")
    )
    row = f"no emotion at all | {agreement} | {export['kappa']:.2f} | {near} | {export['seconds']} s |"
    assert row in text
