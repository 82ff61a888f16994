#!/usr/bin/env bash
# What changed in the models between two commits, as Markdown, with `dvc metrics diff`; the learning curves of both as a page
# in plots/. `infra/ci/report.sh BASE [HEAD]`. It touches neither the branch nor the working tree.
set -euo pipefail
base=$1 head=${2:-HEAD}

here=$PWD
# dvc.yaml reads build/models.yaml, which git does not have: DVC finds no stage in a bare commit. So each of the two gets a
# commit of its own on top, with that file in it, which no branch names. DVC fetches nothing while it compares.
with_models() {
  local tree
  tree=$(mktemp -d)
  git worktree add --quiet --detach "$tree" "$1"
  (
    cd "$tree"
    python -m training models
    git add --force build/models.yaml
    git -c user.name=report -c user.email=report@localhost commit --quiet --no-verify --message "models of $1"
    cp "$here/.dvc/config.local" .dvc/ 2>/dev/null || true
    dvc config --local cache.dir "$here/.dvc/cache"
    grep -ohE 'build/[^/]+/(metrics\.json|curves\.csv)' dvc.lock | sort -u | xargs --no-run-if-empty dvc fetch --quiet >&2 || true
    git rev-parse HEAD
  )
  git worktree remove --force "$tree"
}
before=$(with_models "$base")
after=$(with_models "$head")

echo "### Models: $head against $base"
echo
table=$(dvc metrics diff --md --precision 4 "$before" "$after")
table=${table//$before/before}
if [ "$(printf '%s\n' "$table" | wc -l)" -gt 2 ]; then
  printf '%s\n\n' "${table//$after/after}"
  echo 'Figures of the test cases. The learning curves are in `plots`.'
else
  echo 'No figure changed. Is `dvc.lock` committed, and are its results in the remote (`dvc push`)?'
fi
dvc plots diff "$before" "$after" --out plots >&2
