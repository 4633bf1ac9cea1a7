#!/usr/bin/env bash
# Spreads a network card's work over processors: interrupts one by one (IRQ affinity), receive queues (RSS, if asked),
# received packets where there are fewer queues than processors (RPS), and sending queues (XPS).
# What was there before is kept in /run until --revert; running it again changes nothing that is already so.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: nic-affinity.sh [--dry-run] [--revert] [--cpus LIST] [--queues] [--root DIR] [INTERFACE...]

  INTERFACE    cards to spread; without one, all that are real devices
  --dry-run    say what would be written, old value -> new value, and write nothing
  --revert     write back what was there before the first run
  --cpus LIST  spread over these processors, as in 0-7,16 (default: all that are online)
  --queues     also set as many receive queues as processors with ethtool; most cards lose their link for a moment
  --root DIR   read and write /sys, /proc and /run below DIR, for tests
TEXT
}

dry_run=no revert=no queues=no root='' list='' interfaces=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes ;;
    --revert) revert=yes ;;
    --queues) queues=yes ;;
    --cpus | --root)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      if [ "$1" = --cpus ]; then list=$2; else root=${2%/}; fi
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "nic-affinity.sh: $1 is no option" >&2; usage >&2; exit 2 ;;
    *) interfaces+=("$1") ;;
  esac
  shift
done

state=$root/run/waystation-nic

# The numbers of a list such as 0,2-3, one a line.
numbers() {
  local part
  for part in ${1//,/ }; do
    [[ $part =~ ^[0-9]+(-[0-9]+)?$ ]] || { echo "nic-affinity.sh: $1 is no list of processors" >&2; return 1; }
    seq "${part%-*}" "${part#*-}"
  done
}

# The kernel's mask of some processors: words of 32 bits in hexadecimal, the highest first, commas between.
mask() {
  local cpu word words=() text=''
  for cpu in "$@"; do
    word=$((cpu / 32))
    while [ ${#words[@]} -le "$word" ]; do words+=(0); done
    words[word]=$((words[word] | 1 << (cpu % 32)))
  done
  for ((word = ${#words[@]} - 1; word >= 0; word--)); do
    if [ -z "$text" ]; then text=$(printf '%x' "${words[word]}"); else text+=$(printf ',%08x' "${words[word]}"); fi
  done
  echo "$text"
}

# Whether two values are one: the kernel writes masks with leading zeros and line ends of its own.
same() {
  local old=${1//[[:space:]]/} new=$2
  if [ "$3" = mask ]; then
    while [[ $old == [0,]?* ]]; do old=${old#[0,]}; done
  fi
  [ "$old" = "$new" ]
}

# put PATH VALUE CARD list|mask: writes a value, once its old one is kept. What cannot be written is told and does not end the rest.
put() {
  local path=$1 value=$2 kept=$state/$3 old
  old=$(cat "$root$path" 2>/dev/null) || return 0
  if same "$old" "$value" "$4"; then return 0; fi
  echo "$path: $old -> $value"
  if [ "$dry_run" = yes ]; then return 0; fi
  mkdir -p "$state"
  touch "$kept"
  grep -qF "$path " "$kept" || echo "$path $old" >>"$kept"
  { echo "$value" >"$root$path"; } 2>/dev/null || echo "nic-affinity.sh: $path takes no $value" >&2
}

real_cards() {
  local path
  for path in "$root"/sys/class/net/*; do
    if [ -e "$path/device" ]; then basename "$path"; fi
  done
}

# The numbers of a card's interrupts. Those of a paravirtual card belong to the device that it is on.
interrupts() {
  local place
  for place in "$root/sys/class/net/$1/device/msi_irqs" "$root/sys/class/net/$1/device/../msi_irqs"; do
    if [ -d "$place" ]; then
      find "$place/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n
      return
    fi
  done
}

queue_count() {
  find "$root/sys/class/net/$1/queues/" -mindepth 1 -maxdepth 1 -name "$2-*" 2>/dev/null | wc -l
}

# As many combined queues as processors, or as the card has.
set_queues() {
  local card=$1 wanted=$2 text now most
  command -v ethtool >/dev/null || { echo "nic-affinity.sh: --queues needs ethtool" >&2; return 0; }
  text=$(ethtool -l "$card" 2>/dev/null) || { echo "nic-affinity.sh: $card has a fixed number of queues" >&2; return 0; }
  most=$(awk '/^Combined:/ { print $2; exit }' <<<"$text")
  now=$(awk '/^Combined:/ { last = $2 } END { print last }' <<<"$text")
  [[ $most =~ ^[0-9]+$ && $now =~ ^[0-9]+$ ]] || return 0
  if [ "$wanted" -gt "$most" ]; then wanted=$most; fi
  if [ "$wanted" -eq "$now" ]; then return 0; fi
  echo "$card: $now queues -> $wanted"
  if [ "$dry_run" = yes ]; then return 0; fi
  mkdir -p "$state"
  grep -qs '^queues ' "$state/$card" || echo "queues $now" >>"$state/$card"
  ethtool -L "$card" combined "$wanted" || echo "nic-affinity.sh: $card takes no $wanted queues" >&2
}

spread() {
  local card=$1 index=0 irq queue receive send all own cpu
  if [ "$queues" = yes ]; then set_queues "$card" "${#cpus[@]}"; fi
  for irq in $(interrupts "$card"); do
    put "/proc/irq/$irq/smp_affinity_list" "${cpus[index % ${#cpus[@]}]}" "$card" list
    index=$((index + 1))
  done
  all=$(mask "${cpus[@]}")
  receive=$(queue_count "$card" rx)
  for ((queue = 0; queue < receive; queue++)); do
    if [ "$receive" -lt "${#cpus[@]}" ]; then own=$all; else own=0; fi
    put "/sys/class/net/$card/queues/rx-$queue/rps_cpus" "$own" "$card" mask
  done
  send=$(queue_count "$card" tx)
  for ((queue = 0; queue < send; queue++)); do
    own=()
    for ((index = queue; index < ${#cpus[@]}; index += send)); do
      cpu=${cpus[index]}
      own+=("$cpu")
    done
    if [ ${#own[@]} -gt 0 ]; then put "/sys/class/net/$card/queues/tx-$queue/xps_cpus" "$(mask "${own[@]}")" "$card" mask; fi
  done
}

put_back() {
  local card=$1 kept=$state/$1 path old
  if [ ! -e "$kept" ]; then echo "$card: nothing to put back"; return 0; fi
  while read -r path old; do
    if [ "$path" = queues ]; then
      echo "$card: $old queues again"
      if [ "$dry_run" = no ]; then ethtool -L "$card" combined "$old" || true; fi
    else
      echo "$path: $old again"
      if [ "$dry_run" = no ]; then { echo "$old" >"$root$path"; } 2>/dev/null || echo "nic-affinity.sh: $path takes no $old" >&2; fi
    fi
  done <"$kept"
  if [ "$dry_run" = no ]; then rm "$kept"; fi
}

if [ ${#interfaces[@]} -eq 0 ]; then mapfile -t interfaces < <(real_cards); fi
online=$(cat "$root/sys/devices/system/cpu/online")
text=$(numbers "${list:-$online}")
mapfile -t cpus <<<"$text"
for card in "${interfaces[@]}"; do
  [ -e "$root/sys/class/net/$card" ] || { echo "nic-affinity.sh: there is no $card" >&2; exit 2; }
  if [ "$revert" = yes ]; then put_back "$card"; else spread "$card"; fi
done
if [ "$revert" = no ] && [ -e "$root/run/irqbalance.pid" ]; then
  echo "nic-affinity.sh: irqbalance runs and will move interrupts again: systemctl disable --now irqbalance" >&2
fi
