#!/bin/sh
# Start a Slurm of one machine, this one, for the tests that need a real one. As root, on Debian or Ubuntu:
#   apt-get install --no-install-recommends slurm-wlm munge
#   tests/benchmark/launchers/slurm_node.sh && SKELBENCH_SLURM_TESTS=1 .venv/bin/pytest tests/benchmark/launchers/test_launchers.py -k slurm
#   tests/benchmark/launchers/slurm_node.sh stop
set -eu

state=/tmp/skelbench-slurm
export SLURM_CONF=/etc/slurm/slurm.conf

end() { # by the process id that a daemon left behind
	if [ -f "$1" ]; then kill "$(cat "$1")" 2>/dev/null || true; fi
}

if [ "${1:-start}" = stop ]; then
	end "$state/slurmd.pid"
	end "$state/slurmctld.pid"
	end /run/munge/munged.pid
	exit 0
fi

mkdir -p "$state/spool" "$state/ctld" /etc/slurm /run/munge
chown munge: /run/munge
[ -f /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1k count=1; chown munge: /etc/munge/munge.key; chmod 400 /etc/munge/munge.key; }
[ -S /run/munge/munge.socket.2 ] || setpriv --reuid munge --regid munge --clear-groups /usr/sbin/munged

name=$(hostname -s)
cat > "$SLURM_CONF" <<CONF
ClusterName=skelbench
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=1
MpiDefault=none
ReturnToService=2
NodeName=$name NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld
slurmd -N "$name"
for _ in 1 2 3 4 5 6 7 8 9 10; do
	if sinfo --noheader --format=%T | grep -q idle; then sinfo; exit 0; fi
	sleep 1
done
echo "The node does not come up; see $state/*.log." >&2
exit 1
