"""The commands that write, and those that read what was there before."""

WRITERS = {
    "gallery, new": "enroll $IN/people -g $DISK/new.db",
    "gallery": "enroll $IN/people/b -g $DISK/g.db",
    "gallery, cohort": "gallery cohort $DISK/g.db $IN/place",
    "vectors": "embed $IN/people/a $IN/people/b -o $DISK/v.npz",
    "shards": "embed $IN/people -o $DISK/shards",
    "token": "token $DISK/tokens.json --name $NAME",
    "export": "export $DISK/old -o $DISK/exported",
    "calibration": "calibrate $DISK/model --cohort $IN/place",
    "training": "train $IN/recipe.yaml --data $SHAPES -o $DISK/run",
}
READS = """
    $onelook gallery check $DISK/g.db &&
    $onelook identify $IN/people/a/0.png -g $DISK/g.db &&
    $onelook compare $IN/people/a/0.png $IN/people/a/1.png -m $DISK/model &&
    $onelook token $DISK/tokens.json &&
    echo read
"""
