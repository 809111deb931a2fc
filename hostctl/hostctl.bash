# SPDX-License-Identifier: Apache-2.0
# bash completion of hostctl(1): verbs, options, and the names of the VMs that hostd knows.

_hostctl_names()
{
	# A table: a line of heads, VMs, and in parentheses what is none.
	"${COMP_WORDS[0]}" "$@" list 2>/dev/null | awk 'NR > 1 && $1 !~ /^\(/ { print $1 }'
}

_hostctl()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb= i
	local -a host=()
	local verbs="list status start stop kill reboot pause resume dump console logs stats top priorities policy
		volume mute explain inject check plan events doctor version help"
	local options="--json --run-dir --socket --timeout --wait --no-wait --host --help --version"

	COMPREPLY=()
	case $before in
	--run-dir | --socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	-H | --host)
		mapfile -t COMPREPLY < <(compgen -A hostname -- "$word")
		return
		;;
	--timeout | --watch | --since | --until | --boot | --device)
		return
		;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--run-dir | --socket | -H | --host)
			host+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}")
			i=$((i + 1))
			;;
		--timeout | --watch | --since | --until | --boot | --device)
			i=$((i + 1))
			;;
		-*) ;;
		*)
			verb=${verb:-${COMP_WORDS[i]}}
			;;
		esac
	done
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options --watch --follow --since --no-console --no-input
			--no-replay --log --once --reset-worst --device" -- "$word")
		return
	fi
	case $verb in
	'')
		mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$word")
		;;
	help)
		mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$word")
		;;
	status | start | stop | kill | reboot | pause | resume | dump | console | logs | stats | check | plan)
		mapfile -t COMPREPLY < <(compgen -W "$(_hostctl_names "${host[@]}")" -- "$word")
		;;
	policy)
		mapfile -t COMPREPLY < <(compgen -W "show check reload set unquarantine" -- "$word")
		;;
	priorities | mute)
		mapfile -t COMPREPLY < <(compgen -W "on off" -- "$word")
		;;
	inject)
		mapfile -t COMPREPLY < <(compgen -W "error full gone stall late lost refuse kill list clear" -- "$word")
		;;
	esac
}

complete -F _hostctl hostctl
