# SPDX-License-Identifier: Apache-2.0
# One run attempt inside a Slurm job: starts the ranks, passes signals on, and says how the attempt ended. The jobs of
# this folder source it; it only defines bash functions.
#
#   deck=input/x.toml backend=cpu; source jobs/life.sh
#   live            starts the ranks of $deck and returns when all have ended
#   goes_on         whether another run attempt would make progress
#   requeue         puts this job back into the queue
#   leave           ends the job with the exit code of the run
#
# Variables that may be set: PENSTOCK (the program, default build/$backend/penstock), PENSTOCK_RUN (the run folder,
# default runs/<the deck's name>), PENSTOCK_SET (words for `penstock train`: what scripts/submit got with --set),
# PENSTOCK_MPI (srun's --mpi, default pmi2), PENSTOCK_LAUNCHER=mpiexec (start the ranks with mpiexec instead of srun).

penstock="${PENSTOCK:-build/${backend:-cpu}/penstock}"
run="${PENSTOCK_RUN:-runs/$(basename "$deck" .toml)}"
read -r -a settings <<<"${PENSTOCK_SET:-}"

say() { printf 'job %s, start %s: %s\n' "$SLURM_JOB_ID" "$((${SLURM_RESTART_COUNT:-0} + 1))" "$*"; }

count() { printf '%s %s' "$1" "$2"; (($1 == 1)) || printf s; }  # count 4 rank: "4 ranks"

# A fact that the run folder recorded, by its key in `penstock status --json`. The exit code of the ranks is a hint only:
# srun gives the highest of all, and a rank that is still leaving when another has left can turn 75 into 143.
fact() { "$penstock" status "$run" --get "$1" 2>/dev/null || true; }

# As many ranks as the deck's mesh has. With mesh.auto = true Penstock fits the mesh to the ranks: one for each GPU, or at
# most one for each core.
count_ranks() {
  local numbers fitted places
  numbers="$("$penstock" check "$deck" "${settings[@]}" --get 'ranks.*.data')" || exit 2
  ranks="$(wc -l <<<"$numbers")"
  fitted="$("$penstock" check "$deck" "${settings[@]}" --get mesh_auto)" || exit 2
  [[ "$fitted" == true ]] || return 0
  places=$((SLURM_JOB_NUM_NODES * ${SLURM_GPUS_ON_NODE:-$SLURM_CPUS_ON_NODE}))
  if [[ -n "${SLURM_GPUS_ON_NODE:-}" ]] || ((places < ranks)); then ranks="$places"; fi
}

# All ranks form one MPI world; one that dies ends the others. Ranks share a node's cores by themselves, so the launcher
# must not bind them.
start_ranks() {
  local per_node=$(((ranks + SLURM_JOB_NUM_NODES - 1) / SLURM_JOB_NUM_NODES))
  local words=("$penstock" train "$deck" "${settings[@]}" --run "$run" --restart latest)
  if [[ "${PENSTOCK_LAUNCHER:-srun}" == mpiexec ]]; then
    mpiexec -n "$ranks" -ppn "$per_node" "${words[@]}" &
  else
    srun --mpi="${PENSTOCK_MPI:-pmi2}" --kill-on-bad-exit=1 --overcommit --cpu-bind=none --distribution=block \
      --ntasks="$ranks" --ntasks-per-node="$per_node" "${words[@]}" &
  fi
  step=$!
}

hand_on() {
  asked=yes
  say "asked to stop: the ranks save after the step they are in"
  if [[ -n "$step" ]]; then kill -USR1 "$step"; fi
}

live() {
  count_ranks
  begun_at="$(fact checkpoint_step)"
  lives_before="$(fact lives)"
  asked=no step=
  trap hand_on USR1
  say "$deck: $(count "$ranks" rank) on $(count "$SLURM_JOB_NUM_NODES" node), run folder $run"
  start_ranks
  while true; do  # a signal ends `wait` early: repeat until the launcher itself has ended
    wait "$step"
    code=$?
    kill -0 "$step" 2>/dev/null || break
  done
  state="$(fact state)" reason="$(fact last_end.reason)"
  if [[ "$(fact lives)" == "$lives_before" ]]; then state=refused; fi
  say "$state${reason:+ ($reason)} at step $(fact step) of $(fact steps), checkpoint $(fact checkpoint_step) (exit code $code)"
}

brought_further() {
  local now
  now="$(fact checkpoint_step)"
  [[ "$now" =~ ^[0-9]+$ ]] && { [[ ! "$begun_at" =~ ^[0-9]+$ ]] || ((now > begun_at)); }
}

goes_on() {
  case "$state" in
    stopped)
      # Stopped by hand (a signal to the ranks only, the file `stop`) or at run.stop: the end was intended.
      [[ "$reason" == "job end" || "$asked" == yes ]] || return 1 ;;
    failed | killed) ;;
    *) return 1 ;;
  esac
  brought_further && return 0
  say "this run attempt made no newer checkpoint: it is not repeated"
  return 1
}

requeue() {
  say "back to the queue"
  scontrol requeue "$SLURM_JOB_ID"
}

leave() {
  case "$state" in
    done | stopped) exit 0 ;;
    failed) say "not repeated: $(fact last_end.message)" ;;
    refused) say "the program refused to begin: see above" ;;
    *) say "the ranks were killed; \`scontrol requeue\` or another sbatch continues from checkpoint $(fact checkpoint_step)" ;;
  esac
  exit 1
}
