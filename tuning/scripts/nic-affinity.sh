#!/usr/bin/env bash
# Spreads a network card's work over processors: interrupts by the queue that each serves (IRQ affinity), receive queues
# (RSS, if asked), received packets where there are fewer queues than processors (RPS), and sending queues (XPS).
# What was there before is kept in /run until --revert, interrupts by their names, since a driver that is loaded again has
# other numbers; running it again changes nothing that is already so.
set -euo pipefail
export LC_ALL=C

usage() {
  cat <<'TEXT'
usage: nic-affinity.sh [--dry-run] [--revert] [--cpus LIST] [--queues] [--root DIR] [--] [INTERFACE...]

  INTERFACE    cards to spread, by name or by their path below /sys; without one, all that are real devices
  --dry-run    say what would be written, old value -> new value, and write nothing
  --revert     write back what was there before the first run
  --cpus LIST  spread over these processors, as in 0-7,16 (default: all that are online and not isolated)
  --queues     also set as many receive queues as processors with ethtool; most cards lose their link for a moment
  --root DIR   read and write /sys, /proc and /run below DIR, for tests
TEXT
}

say() { echo "nic-affinity.sh: $*" >&2; }
# Puts the first line of a file into REPLY; fails if there is none. All files of the kernel that are read here have one.
first_line() {
  REPLY=''
  { IFS= read -r REPLY <"$1"; } 2>/dev/null || [ -n "$REPLY" ]
}

dry_run=no revert=no queues=no root='' list=() interfaces=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes ;;
    --revert) revert=yes ;;
    --queues) queues=yes ;;
    --cpus | --root)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      if [ "$1" = --cpus ]; then list=("$2"); else root=${2%/}; fi
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    --) shift; interfaces+=("$@"); break ;;
    -*) say "$1 is no option"; usage >&2; exit 2 ;;
    *) interfaces+=("$1") ;;
  esac
  shift
done
for ((at = 0; at < ${#interfaces[@]}; at++)); do
  card=${interfaces[at]}
  if [[ $card == /sys/*/net/* ]]; then card=${card##*/net/}; fi
  case $card in '' | . | .. | */*) say "'${interfaces[at]}' is no interface"; exit 2 ;; esac
  interfaces[at]=$card
done

state=$root/run/waystation-nic

# The numbers of a list such as 0,2-3, one a line.
numbers() {
  local part
  for part in ${1//,/ }; do
    if ! [[ $part =~ ^([0-9]{1,4})(-([0-9]{1,4}))?$ ]] || [ "${BASH_REMATCH[3]:-9999}" -lt "${BASH_REMATCH[1]}" ]; then
      say "$1 is no list of processors"
      return 1
    fi
    seq "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}"
  done
}

# The processors to deal to, one thread of each core first: two queues on one core do less than two queues' work.
processors() {
  local isolated given cpu core rank text wanted=()
  local -A usable=() used=()
  first_line "$root/sys/devices/system/cpu/online" || { say "/sys/devices/system/cpu/online cannot be read"; return 1; }
  text=$(numbers "$REPLY") || return 1
  for cpu in $text; do usable[$cpu]=1; done
  if [ ${#list[@]} -gt 0 ]; then
    given=$(numbers "${list[0]}") || return 1
    for cpu in $given; do
      if [ -n "${usable[$cpu]:-}" ]; then wanted+=("$cpu"); else say "processor $cpu is not online and left out"; fi
    done
  else
    first_line "$root/sys/devices/system/cpu/isolated" || true
    isolated=" $(numbers "$REPLY" | tr '\n' ' ')"
    for cpu in $text; do
      if [[ $isolated != *" $cpu "* ]]; then wanted+=("$cpu"); fi
    done
    # Where all are isolated somebody has to do it.
    if [ ${#wanted[@]} -eq 0 ]; then read -ra wanted <<<"${text//$'\n'/ }"; fi
  fi
  [ ${#wanted[@]} -gt 0 ] || { say "no processor to spread over"; return 1; }
  for cpu in "${wanted[@]}"; do
    [ -n "${usable[$cpu]:-}" ] || continue
    unset "usable[$cpu]"
    first_line "$root/sys/devices/system/cpu/cpu$cpu/topology/thread_siblings_list" || REPLY=$cpu
    core=$REPLY
    rank=${used[$core]:-0}
    used[$core]=$((rank + 1))
    echo "$rank $cpu"
  done | sort -n -k 1,1 -k 2,2 | cut -d ' ' -f 2
}

# Puts the kernel's mask of some processors into REPLY: words of 32 bits in hexadecimal, the highest first, commas between.
mask() {
  local cpu word words=() text
  for cpu in "$@"; do
    word=$((cpu / 32))
    while [ ${#words[@]} -le "$word" ]; do words+=(0); done
    words[word]=$((words[word] | 1 << (cpu % 32)))
  done
  word=$((${#words[@]} - 1))
  printf -v REPLY '%x' "${words[word]}"
  for ((word--; word >= 0; word--)); do
    printf -v text ',%08x' "${words[word]}"
    REPLY+=$text
  done
}

# Whether two values are one: the kernel writes masks with leading zeros and line ends of its own.
same() {
  local old=${1//[[:space:]]/} new=${2//[[:space:]]/} text
  if [[ $3 == *_cpus ]]; then
    for text in old new; do
      while [[ ${!text} == [0,]?* ]]; do printf -v "$text" '%s' "${!text#[0,]}"; done
    done
  fi
  [ "$old" = "$new" ]
}

# What is kept of a card, in lines of a kind, a key and the value before, with tabs between. A card that was taken out and
# put in again, or whose driver was, is another one with another index: nothing is kept of it.
declare -A kept=()
kept_order=()
load_kept() {
  local kind key old index other=no
  kept=() kept_order=()
  first_line "$root/sys/class/net/$1/ifindex" || REPLY=-
  index=$REPLY
  [ -e "$state/$1" ] || return 0
  while IFS=$'\t' read -r kind key old; do
    if [ "$kind" = card ]; then
      if [ "$key" != "$index" ]; then other=yes; break; fi
    else
      kept["$kind $key"]=$old
      kept_order+=("$kind"$'\t'"$key")
    fi
  done <"$state/$1"
  if [ "$other" = yes ]; then
    say "$1 is not the card that it was: what was kept of that one is dropped"
    if [ "$dry_run" = no ]; then rm -f -- "$state/$1"; fi
  fi
}

# keep CARD KIND KEY OLD: remembers a value, unless an older one is kept.
keep() {
  if [ -n "${kept["$2 $3"]+is}" ]; then return 0; fi
  if [ ! -e "$state/$1" ]; then
    mkdir -p "$state"
    first_line "$root/sys/class/net/$1/ifindex" || REPLY=-
    printf 'card\t%s\n' "$REPLY" >"$state/$1"
  fi
  printf '%s\t%s\t%s\n' "$2" "$3" "$4" >>"$state/$1"
  kept["$2 $3"]=$4
}

# put CARD KIND KEY PATH VALUE: writes a value, once its old one is kept. What cannot be written is told and does not end the rest.
put() {
  local path=$4 value=$5 old
  first_line "$root$path" || return 0
  old=$REPLY
  if same "$old" "$value" "$path"; then return 0; fi
  echo "$path: $old -> $value"
  if [ "$dry_run" = yes ]; then return 0; fi
  keep "$1" "$2" "$3" "$old"
  { echo "$value" >"$root$path"; } 2>/dev/null || say "$path takes no $value"
}

real_cards() {
  local path
  for path in "$root"/sys/class/net/*; do
    if [ -e "$path/device" ]; then echo "${path##*/}"; fi
  done
}

# What drivers call the interrupts: number, tab, name.
actions() {
  if [ -r "$root/proc/interrupts" ]; then
    awk '/^ *[0-9]+:/ { irq = $1; sub(/:/, "", irq); count = split($0, parts, /  +/); print irq "\t" parts[count] }' "$root/proc/interrupts"
  fi
}

# The interrupts of a card in order of their numbers. Those of a paravirtual card belong to the device that it is on; a card
# without messages of its own has those that bear its name.
interrupts() {
  local place irq name
  for place in "$root/sys/class/net/$1/device/msi_irqs" "$root/sys/class/net/$1/device/../msi_irqs"; do
    if [ -d "$place" ]; then
      find "$place/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n
      return
    fi
  done
  while IFS=$'\t' read -r irq name; do
    case $name in "$1" | "$1"[-:]*) echo "$irq" ;; esac
  done < <(actions)
}

# Fills irqs with a card's interrupts, action_of with their names and key_of with what they are kept by, from which irq_of
# leads back: the name, and where several have it their place among these.
declare -A action_of=() key_of=() irq_of=()
irqs=()
load_interrupts() {
  local irq name count
  local -A counts=() all=()
  action_of=() key_of=() irq_of=() irqs=()
  while IFS=$'\t' read -r irq name; do all[$irq]=$name; done < <(actions)
  mapfile -t irqs < <(interrupts "$1")
  for irq in "${irqs[@]}"; do
    name=${all[$irq]:-}
    count=${counts["=$name"]:-0}
    counts["=$name"]=$((count + 1))
    action_of[$irq]=$name
    key_of[$irq]="$name#$count"
    irq_of["$name#$count"]=$irq
  done
}

# queue_of NAME CARD: puts the number of the queue that an interrupt serves into REPLY; fails for one that serves none, as for
# configuration, management or another device. Drivers choose the names, most of them a direction and a number at the end.
queue_of() {
  local name=${1%%@*} card=${2,,}
  local kinds='txrx|tx-rx|rxtx|rx-tx|input|output|rx|tx|comp|fp|q|queue|ntfy-blk|ntfy-block'
  name=${name,,}
  if [ "$name" = "$card" ]; then return 1; fi
  case $name in nvme* | *fdir*) return 1 ;; esac
  if [[ $name =~ (^|[^a-z])($kinds)[-._:]?([0-9]{1,4})$ ]]; then
    REPLY=$((10#${BASH_REMATCH[3]}))
  elif [[ $name =~ (^|[^a-z])q(ueue)?[-._:]?([0-9]{1,4})-(rx|tx|txrx)$ ]]; then
    REPLY=$((10#${BASH_REMATCH[3]}))
  elif [[ $name =~ \(queue\ ([0-9]{1,4})\)$ || $name =~ \[([0-9]{1,4})\]$ || $name =~ ^mlx4-([0-9]{1,4})$ ]]; then
    REPLY=$((10#${BASH_REMATCH[1]}))
  elif [[ $name == "$card"-* && ${name#"$card"-} =~ ^([0-9]{1,4})$ ]]; then
    REPLY=$((10#${BASH_REMATCH[1]}))
  else
    return 1
  fi
}

# queue_count CARD rx|tx: puts the number of its queues into REPLY. Some devices have none.
queue_count() {
  REPLY=0
  while [ -e "$root/sys/class/net/$1/queues/$2-$REPLY" ]; do REPLY=$((REPLY + 1)); done
}

# As many combined queues as processors, or as the card has.
set_queues() {
  local card=$1 count=$2 text now most
  command -v ethtool >/dev/null || { say "--queues needs ethtool"; return 0; }
  text=$(ethtool -l "$card" 2>/dev/null) || { say "$card has a fixed number of queues"; return 0; }
  most=$(awk '/^Combined:/ { print $2; exit }' <<<"$text")
  now=$(awk '/^Combined:/ { last = $2 } END { print last }' <<<"$text")
  [[ $most =~ ^[0-9]+$ && $now =~ ^[0-9]+$ ]] || return 0
  if [ "$count" -gt "$most" ]; then count=$most; fi
  if [ "$count" -eq "$now" ]; then return 0; fi
  echo "$card: $now queues -> $count"
  if [ "$dry_run" = yes ]; then return 0; fi
  keep "$card" queues combined "$now"
  ethtool -L "$card" combined "$count" || say "$card takes no $count queues"
}

# Each queue's interrupts on the processor of its number, receiving and sending ones on the same. Where no name tells a queue
# they are dealt in order of their numbers.
spread_interrupts() {
  local card=$1 irq queue index=0
  local -A queue_by=()
  load_interrupts "$card"
  for irq in "${irqs[@]}"; do
    if queue_of "${action_of[$irq]}" "$card"; then queue_by[$irq]=$REPLY; fi
  done
  for irq in "${irqs[@]}"; do
    if [ ${#queue_by[@]} -eq 0 ]; then
      queue=$index
      index=$((index + 1))
    else
      queue=${queue_by[$irq]:-}
    fi
    [ -n "$queue" ] || continue
    dealt+=("$irq")
    put "$card" irq "${key_of[$irq]}" "/proc/irq/$irq/smp_affinity_list" "${cpus[queue % ${#cpus[@]}]}"
  done
}

spread() {
  local card=$1 index queue receive send all own path
  load_kept "$card"
  if [ "$queues" = yes ]; then set_queues "$card" "${#cpus[@]}"; fi
  spread_interrupts "$card"
  mask "${cpus[@]}"
  all=$REPLY
  queue_count "$card" rx
  receive=$REPLY
  for ((queue = 0; queue < receive; queue++)); do
    if [ "$receive" -lt "${#cpus[@]}" ]; then own=$all; else own=0; fi
    path=/sys/class/net/$card/queues/rx-$queue/rps_cpus
    put "$card" file "$path" "$path" "$own"
  done
  queue_count "$card" tx
  send=$REPLY
  for ((queue = 0; queue < send; queue++)); do
    own=()
    for ((index = queue; index < ${#cpus[@]}; index += send)); do own+=("${cpus[index]}"); done
    path=/sys/class/net/$card/queues/tx-$queue/xps_cpus
    if [ ${#own[@]} -gt 0 ]; then
      mask "${own[@]}"
      put "$card" file "$path" "$path" "$REPLY"
    fi
  done
}

# put_back_one CARD KIND KEY OLD: fails if the value is not taken. What is not there any more needs nothing.
put_back_one() {
  local kind=$2 key=$3 old=$4 path now
  case $kind in
    queues)
      echo "$1: $old queues again"
      if [ "$dry_run" = yes ] || ethtool -L "$1" combined "$old"; then
        # The driver may have asked for other interrupts.
        load_interrupts "$1"
        return 0
      fi
      return 1
      ;;
    irq)
      [ -n "${irq_of["$key"]:-}" ] || return 0
      path=/proc/irq/${irq_of["$key"]}/smp_affinity_list
      ;;
    *) path=$key ;;
  esac
  first_line "$root$path" || return 0
  now=$REPLY
  if same "$now" "$old" "$path"; then return 0; fi
  echo "$path: $old again"
  if [ "$dry_run" = yes ]; then return 0; fi
  { echo "$old" >"$root$path"; } 2>/dev/null || { say "$path takes no $old"; return 1; }
}

put_back() {
  local card=$1 entry failed=no
  if [ ! -e "$state/$card" ]; then echo "$card: nothing to put back"; return 0; fi
  if [ -e "$root/sys/class/net/$card" ]; then
    load_kept "$card"
    load_interrupts "$card"
    for entry in "${kept_order[@]}"; do
      put_back_one "$card" "${entry%%$'\t'*}" "${entry#*$'\t'}" "${kept["${entry/$'\t'/ }"]}" || failed=yes
    done
  else
    say "$card is gone, and its settings with it"
  fi
  # What was not taken stays kept, so that it can be tried again.
  if [ "$failed" = yes ]; then return 1; fi
  if [ "$dry_run" = no ]; then rm -f -- "$state/$card"; fi
}

# Says so if irqbalance runs and has not been told to leave these interrupts alone. Not every system has a file with its
# process id.
warn_of_irqbalance() {
  local comm args irq left=()
  for comm in "$root"/proc/[0-9]*/comm; do
    if ! first_line "$comm" || [ "$REPLY" != irqbalance ]; then continue; fi
    args=" $({ tr '\0' ' ' <"${comm%comm}cmdline"; } 2>/dev/null || true) "
    for irq in "$@"; do
      case $args in *" --banirq=$irq "* | *" --banirq $irq "* | *" -i $irq "* | *" -i$irq "*) ;; *) left+=("--banirq=$irq") ;; esac
    done
    if [ ${#left[@]} -gt 0 ]; then
      say "irqbalance runs and will move interrupts again: systemctl disable --now irqbalance, or make it leave them alone with" \
        "IRQBALANCE_ARGS='${left[*]}' in /etc/default/irqbalance (/etc/sysconfig/irqbalance on some systems)"
    fi
    return 0
  done
}

if [ "$revert" = yes ]; then
  if [ ${#interfaces[@]} -eq 0 ]; then
    for card in "$state"/*; do
      if [ -e "$card" ]; then interfaces+=("${card##*/}"); fi
    done
    if [ ${#interfaces[@]} -eq 0 ]; then echo "nothing to put back"; fi
  fi
  failed=0
  for card in "${interfaces[@]}"; do
    if [ ! -e "$root/sys/class/net/$card" ] && [ ! -e "$state/$card" ]; then say "there is no $card"; exit 2; fi
    put_back "$card" || failed=1
  done
  exit "$failed"
fi

if [ ${#interfaces[@]} -eq 0 ]; then mapfile -t interfaces < <(real_cards); fi
for card in "${interfaces[@]}"; do
  [ -e "$root/sys/class/net/$card" ] || { say "there is no $card"; exit 2; }
done
text=$(processors) || exit 2
mapfile -t cpus <<<"$text"
dealt=()
for card in "${interfaces[@]}"; do spread "$card"; done
if [ ${#dealt[@]} -gt 0 ]; then warn_of_irqbalance "${dealt[@]}"; fi
