# Packages of a suite and an architecture that need not be the machine's own. Sourced by fetch and pack, which set
# `architecture`, `suite` and `state`, a folder for the lists of packages.
#
# The suite comes from the mirror that the machine's own apt is configured with, by a list of sources of its own: the
# machine's configuration stays as it is, and nothing is installed.
# shellcheck shell=bash disable=SC2154 # the three are set by who sources this

missing() { echo "$*"; exit 77; }
has() { command -v "$1" >/dev/null 2>&1; }

# The machine's mirror of the release that it has itself, or that of the release's security updates.
mirror() {
  local release
  release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  case $suite in *-security) release=$release-security ;; esac
  # shellcheck disable=SC2016 # these are apt's words, not the shell's
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$release" '$1 == release { print $2; exit }'
}

# apt with the sources of the suite, and nothing that is the machine's but its keys and its way to the network.
private() { # PROGRAM ARGUMENTS…
  local program=$1
  shift
  "$program" -qq -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=- -o Dir::Etc::Preferences=/dev/null \
    -o Dir::Etc::PreferencesParts="$state/preferences.d" -o Dir::State::Lists="$state/lists" \
    -o Dir::State::Status="$state/status" -o Dir::Cache="$state/cache" -o APT::Architecture="$architecture" \
    -o APT::Architectures="$architecture" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
    -o Acquire::Retries=2 -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

# The suite's lists of packages, once.
update() {
  local program uri
  for program in apt-get apt-cache dpkg-deb; do
    has $program || missing "cannot download packages of $suite: there is no $program; use a machine with Debian"
  done
  [ ! -e "$state/updated" ] || return 0
  uri=$(mirror)
  [ -n "$uri" ] || missing "cannot download packages of $suite: this machine's apt has no mirror of its release for them; give it one in its sources"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/preferences.d"
  : >"$state/status"
  echo "deb $uri $suite main" >"$state/sources.list"
  private apt-get update || true
  # It also ends with 0 where nothing could be reached.
  compgen -G "$state/lists/*_Packages*" >/dev/null || missing "cannot download the package lists of $suite from this machine's mirror: the mirror has no such suite, or cannot be reached"
  touch "$state/updated"
}

# Downloads packages and unpacks them into a folder.
download() { # FOLDER PACKAGES…
  local folder=$1 debs
  shift
  debs=$(mktemp -d)
  (cd "$debs" && private apt-get download "$@") || { rm -rf "$debs"; return 1; }
  find "$debs" -name '*.deb' -exec dpkg-deb -x {} "$folder" \;
  rm -rf "$debs"
}
