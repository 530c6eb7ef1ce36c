#!/bin/sh
# Remake the embedded bundle `pocket` from its data sets:
#
#     engines/pocket/reproduce.sh DATA WORK
#
# DATA is the folder of all data sets; WORK gets the prepared sets, the runs, the members and the bundle. What is
# there already is not made again, and an interrupted run continues. TEACHER (WORK/teacher) holds what MediaPipe's
# face mesh says of the pictures: see train/data/teachers/face_mesh.py, which needs an environment of its own.
# WHISPER (WORK/whisper) holds `model.bin` of faster-whisper-tiny.en, or `model.safetensors` of openai/whisper-tiny.en.
# The bundle that it makes has the weights of its networks in `training/`, with which `affectstream teach` refits
# encoders; the one in the package says there only what they were trained on.
set -eu
data=$(realpath "$1")
mkdir -p "$2"
here=$(dirname "$(realpath "$0")")
cd "$2"
teacher=${TEACHER:-teacher}
whisper=${WHISPER:-whisper}
threads=${THREADS:-2}

prepare() { # NAME SET SOURCE [OPTION...]
    name=$1 && shift
    [ -f "prepared/$name/dataset.json" ] || affectstream train prepare "$@" --output "prepared/$name"
}

fit() { # RUNS RECIPE DATA [OPTION...]
    runs=$1 && recipe=$2 && from=$3 && shift 3
    [ -f "$runs/$recipe/summary.json" ] && return
    resume=""
    [ -f "$runs/$recipe/last.pt" ] && resume=--resume
    affectstream train fit --recipe "$recipe" --data "$from" --runs "$runs" --threads "$threads" $resume "$@"
}

member() { # MODALITY RUNS RECIPE DATA [OPTION...]
    modality=$1 && runs=$2 && recipe=$3 && from=$4 && shift 4
    [ -f "members/$modality/bundle.json" ] || affectstream train export --recipe "$recipe" \
        --data "$from" --runs "$runs" --output "members/$modality" "$@"
}

prepare fer2013 fer2013 "$data" --size 48 --duplicates drop
prepare ravdess ravdess "$data/ravdess"
prepare emodb emodb "$data/emodb"
prepare nemo nemo "$data/nemo"
prepare meld meld "$data/meld"

# The face: where it is (YuNet itself: the recipe that teaches it to find turned heads needs longer training), how it
# is turned, what it shows. The second run sees pictures that are not blended. The newest frames count most.
if [ ! -f yunet/face_detector.onnx ]; then
    mkdir -p yunet
    python -m affectstream.train.recipes.face_detector "$data" yunet
fi
fit runs face_geometry "$teacher"
fit runs face_resnet prepared/fer2013
fit sharpened face_resnet prepared/fer2013 --init runs/face_resnet --epochs 6 --learning-rate 1e-3 \
    --warmup-epochs 0.5 --mixup 0 --erasing 0.2 --degrading 0.15
member video sharpened face_resnet prepared/fer2013 --half-life 0.15

# The voice, of several corpora, on the first layers of Whisper.
mkdir -p corpora
for name in ravdess emodb nemo; do ln -sfn "../prepared/$name" "corpora/$name"; done
prepare voices joined corpora
fit runs whisper_voice prepared/voices --weights voice="$whisper"
member voice runs whisper_voice prepared/voices

# The words: a large encoder tells a small one what it thinks of lines that it did not learn from.
mkdir -p teachers
if [ ! -f prepared/meld-taught/dataset.json ]; then
    affectstream train folds --recipe sentence --set encoder=tuned --data prepared/meld --by sample --no-valid \
        --learning-rate 5e-4 --ema-decay 0.99 --epochs 4 --phase-epochs 1 --runs runs --threads "$threads"
    cp -r prepared/meld teachers/meld
    for fold in runs/sentence/folds/*/held_out.npz; do
        cp "$fold" "teachers/$(basename "$(dirname "$fold")").npz"
    done
fi
prepare meld-taught taught teachers
fit runs ngram_text prepared/meld-taught
member text runs ngram_text prepared/meld-taught

# One head over all of them, on samples that no member was trained on, half of them degraded.
mkdir -p parts
for name in fer2013 voices meld; do ln -sfn "../prepared/$name" "parts/$name"; done
prepare paired paired parts --part valid --times 4 --degrade 0.5
fit runs evidence prepared/paired --member members/video --member members/voice --member members/text
{ # the face detector is measured on the clips in DATA
    echo "clips = \"$data\""
    cat "$here/merge.toml"
} >merge.toml
# Calibrated on twice as many voices: those of split test too. One voice counts as much as another.
prepare unseen paired parts --part unseen --times 2 --degrade 0.5
affectstream train export --recipe evidence --data prepared/paired --calibrate prepared/unseen --merge merge.toml \
    --output pocket --overwrite
cp "$here/LICENSE" "$here/LICENSE.yunet" "$here/LICENSE.whisper" pocket/  # names the terms of every data set
