#!/usr/bin/env bash
# A SLURM cluster of one machine, for trying workflow/profiles/slurm: Debian's slurm-wlm and munge, without systemd or cgroups.
#
#   tests/slurm.sh start FOLDER   configuration, state and logs go to FOLDER, a new one with a short path
#   . FOLDER/use                  sbatch and the others then talk to it
#   tests/slurm.sh stop FOLDER    ends the jobs and the daemons
set -euo pipefail

[[ $# -eq 2 && $1 =~ ^(start|stop)$ ]] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf
srun=$(command -v srun)
PATH=$PATH:/usr/sbin

start() {
    head -c 1024 /dev/urandom > "$folder/munge.key"
    chmod 711 "$folder" && chmod 400 "$folder/munge.key"  # as munge wants it
    mkdir -p "$folder/state" "$folder/spool" "$folder/bin"
    # The plugin takes SLURM_CONF away from the srun that it starts in a job; one that finds the configuration is put first.
    printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$SLURM_CONF" "$srun" > "$folder/bin/srun"
    chmod +x "$folder/bin/srun"
    printf 'export SLURM_CONF=%q PATH=%q:"$PATH"\n' "$SLURM_CONF" "$folder/bin" > "$folder/use"
    read -r ctld d < <(python3 -c '
import socket
free = [socket.socket() for _ in range(2)]
print(*(s.bind(("127.0.0.1", 0)) or s.getsockname()[1] for s in free))')
    # More processors and memory than there may be, so that four experiments run at once; they share what there is.
    # cred_expire is how many seconds a requeued job waits: two minutes if SLURM is not told.
    cat > "$SLURM_CONF" <<-END
		ClusterName=one
		SlurmctldHost=$(hostname -s)(127.0.0.1)
		SlurmctldPort=$ctld
		SlurmdPort=$d
		SlurmUser=$(id -un)
		SlurmdUser=$(id -un)
		AuthInfo=socket=$folder/munge.socket,cred_expire=5
		StateSaveLocation=$folder/state
		SlurmdSpoolDir=$folder/spool
		SlurmctldPidFile=$folder/slurmctld.pid
		SlurmdPidFile=$folder/slurmd.pid
		SlurmctldLogFile=$folder/slurmctld.log
		SlurmdLogFile=$folder/slurmd.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		JobAcctGatherType=jobacct_gather/none
		MpiDefault=none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_CPU_Memory
		SlurmdParameters=config_overrides
		KillWait=2
		MinJobAge=300
		ReturnToService=2
		NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=8 RealMemory=1000000
		PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
	END
    munged --key-file "$folder/munge.key" --socket "$folder/munge.socket" --pid-file "$folder/munged.pid" \
        --log-file "$folder/munged.log" --seed-file "$folder/munge.seed"
    slurmctld
    slurmd
    for _ in {1..50}; do
        [[ $(sinfo --noheader --format %T 2>> "$folder/sinfo.log") == idle ]] && return
        sleep 0.2
    done
    tail -n 5 "$folder"/*.log >&2
    stop
    echo "SLURM did not start; its last messages are above" >&2
    exit 1
}

stop() {
    if [[ -s $folder/slurmctld.pid ]]; then
        scancel --user "$(id -un)"
        for _ in {1..50}; do
            [[ -z $(squeue --noheader) ]] && break
            sleep 0.2
        done
    fi
    # Without cgroups SLURM loses sight of a job's process whose parent ended before it, and cancels the job around it.
    for process in /proc/[0-9]*; do
        if grep -qzx "SLURM_CONF=$SLURM_CONF" "$process/environ" && grep -qz '^SLURM_JOB_ID=' "$process/environ"; then
            kill -KILL "${process#/proc/}" || true
        fi
    done 2> /dev/null
    for name in slurmd slurmctld munged; do
        [[ -s $folder/$name.pid ]] || continue
        pid=$(cat "$folder/$name.pid")
        kill "$pid" 2> /dev/null || true
        for _ in {1..50}; do
            kill -0 "$pid" 2> /dev/null || break
            sleep 0.2
        done
    done
}

"$1"
