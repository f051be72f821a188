# The guest's side of the serial transport. Nothing of it is installed: it is typed into `sh`, and lives in its memory.
#
# It reads requests, one a line, and answers them. A request is
#     LENGTH DIGEST VERB H1 H2 ARGUMENTS
# where H1 and H2 are the halves of a nonce. A command runs in a process group of its own, and its output is kept until
# the next command, so that an answer that was damaged on the line is read again, and the command never run again.
#
# How it is typed (typed.py): comments and indentation are left out, the lines are joined by blanks, and each name that
# begins with h_ gets a short one. So each line ends where a blank may follow: with `;`, `|`, `{`, `then`, a pattern's
# `)`, or ` \`. Such a name is never part of a longer word and never stands in quotes, but as `$h_...` in double ones.
# No command's own name begins so; a command may run in a fork of this shell, and must not meet what is ours.
# What stands between two `@` is filled in by guest.py.
#
# All of it must do in dash, bash, busybox's ash and zsh, so it is what POSIX says, and where that is not enough there
# is a test beforehand. Each process is dear on a slow machine (100 ms), so builtins are preferred wherever they do.
#
# Descriptors: 0 the console, requests; 9 the console, answers (1 is no place for them: a command's output goes there,
# and a builtin's words with it); 7 and 8 the stdout and stderr that are kept of the command that runs.
#
# The folder's files, each with the number of its command behind it (h_run):
#     o, e  stdout and stderr
#     p, q  their lines as they were said, for reading again
#     s     the exit status, once the command has ended; behind it a v, once all its stdout has come through a pipe
#     a     is there once the answer is being made       h  the answer itself
# with the number of their set behind them (h_set): v and w named pipes, x and y the stdout and stderr that come out of
# them; and without a number: i the input laid down, j the same unpacked, n how many lines a stream had, c a
# checksum, t what was written to learn whether the folder will do. In mode b, o and e have no number either.
#
# Names with more than one meaning. They are set right before they are used, and the functions below say which
# they change:
#     h_this    what is at hand: a line, a character, a tool, a folder, how a stream is encoded
#     h_that    what goes with it: an index, a file's name, the text of a request
#     h_number  a count, or a process
#     h_note    something noted on the way: bytes that are spelled so far, that a character is odd, the boot's id
#     h_other   a size, a signal, the number of a line
#     h_code    the exit status of a command; the digest of a request's line
#     h_first, h_second  a pair: stdout and stderr; their lines; processes found so far, and those before

# -- The console becomes ours ------------------------------------------------------------------------------------------

# What a command shall find as the login left it: h_locale (and whether there was one), h_umask.
# h_terminal: how the terminal was set, for the end; the loader kept it in `g`.
# No globbing, because requests are split into words unquoted.
h_locale=${LC_ALL-};
h_locale_was_set=${LC_ALL+s};
LC_ALL=C;
h_umask=$(umask);
umask 077;
set -f;
unset IFS;
h_terminal=$g;
stty -echo -ixon -opost isig icanon icrnl -tostop 2>/dev/null;

# From here on what this shell says of itself goes nowhere: a complaint on the console could hit a line of ours.
exec 9>&1 2>/dev/null;

# This shell is never stopped by the terminal: not by Ctrl-Z, and not for reading from or writing to a terminal that
# has another foreground process group by now. Reading fails then, and the shell ends. Commands get the defaults again.
trap '' TSTP TTIN TTOU;

# Each background command gets a process group of its own, where the shell can do that without a terminal to own.
set -m 2>/dev/null;

# h_bye: the nonce of the request to end.     h_asked: the nonce of the latest command; only it is answered again.
# h_pid: the process that the latest command runs in; empty where it took none.     h_run: its number.
# h_out, h_err: the files that its stdout and stderr are kept in.
# h_long_command: a command that came in pieces.     h_input_length: how much input is laid down, as it was typed.
# h_tools: what the guest has, between commas.     h_leaving: set where this shell ends before the command has answered.
h_bye=;
h_asked=;
h_pid=;
h_run=0;
h_out=;
h_err=;
h_long_command=;
h_input_length=0;
h_tools=;
h_leaving=;

# -- Words -------------------------------------------------------------------------------------------------------------

# h_say NONCE BODY: a message. It is said twice with its length, which tells whether it came whole.
h_say() {
    printf '%s<%s|%s:%s>\n' "$1" "$2" "${#2}" "$2" >&9;
};

# h_has TOOL: whether the guest has it.
h_has() {
    command -v "$1" >/dev/null 2>&1;
};

# h_digest: h_code becomes the digest of h_line. The shell's own field splitting works it out (see guest.py, which
# writes this function).
@SUM@

# -- What the guest has ------------------------------------------------------------------------------------------------

# Their order counts: patterns below look for `cat,mkfifo`, and for gzip before base64 before the sums before od.
for h_this in stty cat mkfifo gzip base64 awk sed sha256sum md5sum cksum od rm mkdir sleep sync; do
    h_has $h_this && h_tools="$h_tools,$h_this";
done;
h_tools="$h_tools,";

# h_folder: what names of kept files begin with: a folder of ours or, without `mkdir`, a dot and a name in somebody
# else's. Empty where nothing can be written. A failed redirection of a special builtin (`:`) ends the shell, so where
# a file may be impossible to make, and this very shell makes it, it is `true` that does.
h_folder=;
for h_this in @DIRS@; do
    [ -d "$h_this" ] || continue;
    if mkdir "$h_this/.@NAME@" 2>/dev/null; then
        h_folder="$h_this/.@NAME@/";
    else
        h_folder="$h_this/.@NAME@.";
    fi;
    if true 2>/dev/null >"$h_folder"t; then
        break;
    fi;
    h_folder=;
done;

# -- The end -----------------------------------------------------------------------------------------------------------

# h_leave: ends what still runs, removes what was kept, gives the terminal back as it was, and says so where that was
# asked for. A stopped process (mode v) hears nothing but KILL.
h_leave() {
    trap - 0;
    [ "$h_mode" != v ] || kill -s KILL $h_pid;
    [ -n "$h_pid" ] && {
        h_other=TERM;
        # Whoever is to answer is ended first: it would report what we do here as the command's own end, or, without
        # the folder below, as a lack of room.
        h_leaving=;
        [ -z "$h_folder" ] || [ -s "${h_folder}h$h_run" ] || h_leaving=1;
        set +f;
        h_signal_family;
        [ -z "$h_leaving" ] || kill -s KILL $h_pid;
    };
    [ -z "$h_carriers" ] || kill $h_carriers;
    h_has rm && [ -n "$h_folder" ] && {
        set +f;
        rm -rf "${h_folder%/}" "$h_folder"*;
        set -f;
    };
    # The terminal may be another's by now: who sets it from the background is stopped, unless it pays no heed.
    [ -n "$h_terminal" ] && {
        trap '' TTOU;
        stty "$h_terminal";
    };
    [ -z "$h_bye" ] || h_say $h_bye bye;
    exit 0;
};
trap h_leave 0 1 2 15;

# h_signal_family: sends the signal h_other to the latest command and to all that came from it: its process group and
# the children of each, found in /proc until no more are found. The process that is to answer gets no KILL, and nobody
# gets any signal once the answer is being made. Needs globbing. Changes h_this, h_that, h_number, h_first, h_second.
#
# A line of /proc/PID/stat is: PID (NAME) STATE PARENT GROUP ..., and a name may hold blanks and parentheses.
h_signal_family() {
    h_first=" $h_pid ";
    h_second=;
    while [ "$h_first" != "$h_second" ]; do
        h_second=$h_first;
        for h_this in /proc/[0-9]*/stat; do
            h_that=;
            read -r h_that <"$h_this" || continue;
            h_number=${h_that%% *};
            h_that=${h_that##*\) };
            set -- $h_that;
            case $h_first in
                *" $h_number "*) continue;;
            esac;
            if [ -n "$h_job_control" ] && [ "$3" = "$h_pid" ]; then
                h_first="$h_first$h_number ";
            else
                case $h_first in
                    *" $2 "*) h_first="$h_first$h_number ";;
                esac;
            fi;
        done;
    done;
    # Without /proc there is the group only.
    [ "$h_first" != " $h_pid " ] || [ -n "$h_has_fdinfo" ] || h_first=" -$h_pid ";
    set --;
    for h_this in $h_first; do
        [ "$h_this" = "$h_pid" ] && [ $h_other = KILL ] || set -- "$@" "$h_this";
    done;
    [ -n "$h_folder" ] && [ -e "${h_folder}a$h_run" ] && return;
    [ -z "$h_leaving" ] || kill -s KILL $h_pid;
    [ $# -eq 0 ] || kill -s $h_other -- "$@";
    # A stopped process (it touched the terminal from the background, say) takes a TERM only once it is continued.
    kill -s CONT -- $h_first;
};

# -- Saying what a file holds ------------------------------------------------------------------------------------------

# h_read_text FILE: h_result becomes the file's text with `~` for each newline; h_note is set where a character stands
# in it that cannot be said so: all but a blank to `}`, the last one before `~`. Changes h_this.
h_read_text() {
    h_result=;
    h_this=;
    h_note=;
    while IFS= read -r h_this; do
        case $h_this in
            *[!\ -}]*) h_note=1;
                return;;
        esac;
        h_result="$h_result$h_this~";
    done <"$1";
    # What stands behind the last newline.
    case $h_this in
        *[!\ -}]*) h_note=1;;
    esac;
    h_result="$h_result$h_this";
};

# h_say_lines STREAM: says each line of stdin as a data line of the stream (p or q), keeps it so for reading again, and
# leaves their count in the file n. awk writes twelve at a time, because each write to a terminal costs.
# Without awk, changes h_this and h_that.
h_say_lines() {
    if [ -n "$h_has_awk" ]; then
        awk -v "t=$h_tag$1" -v "f=$h_folder$1$h_run" -v "g=${h_folder}n" \
            '{x=x s t NR ":" $0 "."; s="\n"}
            NR%12==0{print x; print x >f; x=s=""}
            END{if(s){print x; print x >f} print NR+0 >g}' >&9;
    else
        h_that=0;
        : >"$h_folder$1$h_run";
        while IFS= read -r h_this; do
            h_that=$((h_that+1));
            printf '%s\n' "$h_tag$1$h_that:$h_this." >>"$h_folder$1$h_run";
            printf '%s\n' "$h_tag$1$h_that:$h_this." >&9;
        done;
        echo $h_that >"${h_folder}n";
    fi;
};

# h_spell STREAM FILE: as h_say_lines, where the guest has no tool at all: each byte of the file in hexadecimal, 32 a
# line, index and bytes said twice because no checksum covers them. An empty h_this is a NUL byte, which ends a `read`.
# h_answer becomes the count of bytes. Changes h_this, h_that, h_number, h_note.
h_spell() {
    h_that=0;
    h_note=;
    h_number=0;
    : >"$h_folder$1$h_run";
    while IFS= read -r -d '' -n 1 h_this || [ -n "$h_this" ]; do
        if [ -z "$h_this" ]; then
            h_note="${h_note}0,";
        else
            h_note="$h_note$(printf %x, "'$h_this")";
        fi;
        h_number=$((h_number+1));
        [ $((h_number%32)) -eq 0 ] && {
            h_that=$((h_that+1));
            printf '%s\n' "$h_tag$1$h_that:$h_that/$h_note|$h_that/$h_note." >>"$h_folder$1$h_run";
            h_note=;
        };
    done <"$2";
    [ -n "$h_note" ] && {
        h_that=$((h_that+1));
        printf '%s\n' "$h_tag$1$h_that:$h_that/$h_note|$h_that/$h_note." >>"$h_folder$1$h_run";
    };
    echo $h_that >"${h_folder}n";
    h_answer=$h_number;
    while IFS= read -r h_this; do
        printf '%s\n' "$h_this" >&9;
    done <"$h_folder$1$h_run";
};

# h_checksum FILE: h_this becomes its checksum by the best tool that there is, empty where there is none.
h_checksum() {
    h_this=;
    case $h_tools in
        *,sha256sum,*) h_this=$(sha256sum <"$1");;
        *,md5sum,*) h_this=$(md5sum <"$1");;
        *,cksum,*) h_this=$(cksum <"$1");;
    esac;
    h_this=${h_this%% *};
};

# h_say_stream STREAM FILE: says the file as data lines. h_result becomes HOW:COUNT, where HOW is `-` (empty), z (gzip,
# with its own checksum), b or x (base64 or hexadecimal) and a checksum, d and the count of bytes (h_spell), or
# `!encode` where there is no way. h_tools begins with a comma; `n` before it keeps it from meeting the first pattern.
h_say_stream() {
    h_result=;
    h_this=-;
    if [ ! -s "$2" ]; then
        echo 0 >"${h_folder}n";
    else
        case $h_no_gzip$h_tools in
            ,*,gzip,*base64,*) gzip -1 -c <"$2" | base64 $h_wrap | h_say_lines $1;
                h_this=z;;
            # The checksum is worked out while the lines are said.
            *,base64,*sum,*) { h_checksum "$2"; echo "$h_this" >"${h_folder}c"; } &
                base64 $h_wrap_long <"$2" | h_say_lines $1;
                wait $!;
                read -r h_this <"${h_folder}c";
                h_this=b$h_this;;
            *sum,*od,*) od -An -v -tx1 <"$2" | h_say_lines $1;
                h_checksum "$2";
                h_this=x$h_this;;
            *) if [ -n "$h_reads_bytes" ]; then
                    h_spell $1 "$2";
                    h_this=d$h_answer;
                else
                    h_this=!encode;
                    echo 0 >"${h_folder}n";
                fi;;
        esac;
    fi;
    h_result=$h_this;
    read -r h_this <"${h_folder}n";
    h_result="$h_result:$h_this";
};

# h_answer_now: makes the answer of a command that ended with h_code, keeps it and says it. Short text is said in the
# answer itself: `=STATUS:LENGTH:LENGTH:STDOUTSTDERR`; all else before it, in lines: `+STATUS:HOW:COUNT:HOW:COUNT`.
# How much there is, and whether h_read_text got all of it (it knows no NUL byte), is told by how far descriptors 7 and
# 8 have been written; that of a file which was emptied in between tells nothing until something is written again.
# h_first and h_second are empty before; h_lost is set where output is known to be lost. The file `a` comes first: from
# here on no signal.
h_answer_now() {
    h_answer=;
    h_note=;
    if [ -n "$h_has_fdinfo" ]; then
        read -r h_that h_other </proc/self/fdinfo/7;
        read -r h_that h_error_size </proc/self/fdinfo/8;
        [ -s "$h_out" ] || h_other=0;
        [ -s "$h_err" ] || h_error_size=0;
        if [ $((h_other+h_error_size)) -le $h_inline_most ]; then
            h_read_text "$h_out";
            h_first=$h_result;
            [ -n "$h_note" ] || {
                h_read_text "$h_err";
                h_second=$h_result;
            };
            [ -z "$h_note" ] && [ ${#h_first} -eq $h_other ] && [ ${#h_second} -eq $h_error_size ] &&
                h_answer="=$h_code:$h_other:$h_error_size:$h_first$h_second";
        fi;
    fi;
    [ -n "$h_answer" ] || {
        : >"${h_folder}a$h_run";
        h_say_stream p "$h_out";
        h_note=$h_result;
        h_say_stream q "$h_err";
        h_answer="+$h_code:$h_note:$h_result";
        case $h_answer in
            *!*) h_answer=!encode;;
        esac;
    };
    # Output, or lines of it, that found no room are lost, and only this tells: a new file finds none either.
    [ -z "$h_lost" ] || h_answer=!lost;
    printf '%s\n' "$h_answer" >"${h_folder}h$h_run" && [ -s "${h_folder}h$h_run" ] || h_answer=!full;
    h_say $h_asked "$h_answer";
};

# -- Running a command -------------------------------------------------------------------------------------------------

# A request's mode is one letter for where the output goes, and more for the rest:
#     f  to the files themselves: the command is known to write only through its descriptors
#     p  through named pipes, because a command that opens /dev/stderr by name would truncate a file
#     q  through pipes of the shell, where there are no named ones (two processes more)
#     v  into a variable, because nothing can be written
#     b  run by this very shell: it is made of words that can neither wait nor change the shell
#     e  in a fork of this shell, not in a `sh` of its own     i  with the input that was laid down
#     x  the same, which becomes the one program that the command names
#     a  the command was laid down in pieces                   n  its output is not to be compressed

# h_as_login_left_it: what this shell changed for itself is put back, for a command.
h_as_login_left_it() {
    trap - 0 1 2 15;
    umask $h_umask;
    exec 9>&-;
    set +f;
    if [ -n "$h_locale_was_set" ]; then
        LC_ALL=$h_locale;
    else
        unset LC_ALL;
    fi;
};

# h_execute MODE: becomes the command. It sees no positional parameters of ours.
h_execute() {
    case $1 in
        *x*) set --;
            if h_has "${h_command%% *}"; then
                eval "exec $h_command";
            else
                eval "$h_command";
            fi;;
        *e*) set --;
            eval "$h_command";;
        *) exec sh -c "$h_command";;
    esac;
};

# h_after_eval: the command of mode fe was `eval`ed by this very process, which ends (trap 0) and answers with what it
# has for a status, after taking back what the command may have changed.
h_after_eval() {
    h_code=$?;
    trap - 0;
    trap : 15;
    LC_ALL=C;
    set -f;
    umask 077;
    unset IFS;
    h_first=;
    h_second=;
    h_answer_now;
};

# h_run_command MODE: runs h_command with stdin from the file h_that, and answers. It has a process of its own.
# TERM, when the command is to end, reaches the whole family: this shell catches it and lives on to answer (`trap :`,
# which a child does not inherit), a `cat` that carries the output has to ignore it (`trap ''`, which it does inherit),
# and the command gets it as usual (`trap -`). 7 and 8 are closed wherever they are not needed.
# A command that touches the terminal is stopped, with its process group, to which this shell belongs: this shell
# catches those signals, so that it is not stopped, and its children have the defaults.
h_run_command() {
    trap - 0 1 2;
    trap : TSTP TTIN TTOU;
    case $1 in
        p*) ;;
        *) exec 7>"$h_out" 8>"$h_err";;
    esac;
    h_first=;
    h_second=;
    case $1 in
        # No process but this one, so what h_as_login_left_it does is done here, without closing 9.
        fe*) trap h_after_eval 0;
            trap 'exit 143' 15;
            umask $h_umask;
            set +f;
            if [ -n "$h_locale_was_set" ]; then
                LC_ALL=$h_locale;
            else
                unset LC_ALL;
            fi;
            set --;
            { eval "$h_command"; } <"$h_that" >&7 2>&8;
            exit $?;;
        f*) trap : 15;
            ( exec <"$h_that" >&7 2>&8 7>&- 8>&-; h_as_login_left_it; h_execute $1 );
            h_code=$?;
            echo $h_code >"${h_folder}s$h_run";;
        p*) trap : 15;
            ( exec <"$h_that" >"${h_folder}v$h_set.$h_slot" 2>"${h_folder}w$h_set.$h_slot" 7>&- 8>&-;
                h_as_login_left_it;
                h_execute $1 );
            h_code=$?;
            echo $h_code >"${h_folder}s$h_run";
            h_pass v $((h_slot+1));
            echo v >>"${h_folder}s$h_run";
            h_pass w $((h_slot+1));;
        # 3 leads stdout past the first `cat`, which carries stderr.
        *) trap '' 15;
            {
                {
                    ( trap - 15; exec <"$h_that" 3>&- 7>&- 8>&-; h_as_login_left_it; h_execute $1 ) 2>&1 >&3;
                    echo $? >"${h_folder}s$h_run";
                } |
                cat >&8 3>&-;
            } 3>&1 |
            cat >&7;
            read -r h_code <"${h_folder}s$h_run";
            trap : 15;;
    esac;
    h_answer_now;
};

# -- Mode p: named pipes -----------------------------------------------------------------------------------------------

# Two `cat` carry what commands write to where it is kept, one their stdout and one their stderr, each through sixteen
# commands, because a process costs more than most commands. Each reads one named pipe after the other: one that a
# command writes to, then one that nobody writes to. Opening a pipe waits for its other end, so whoever could open the
# second has seen all that came through the first.

# h_set: the number of the first command that had this set of pipes; 0 where there is none.
# h_slot: the pipe that the latest command of the set writes to; 31 was the last one.     h_carriers: both `cat`.
h_set=0;
h_slot=31;
h_carriers=;

# h_pass LETTER NUMBER: waits until the `cat` comes to this pipe. A signal ends an opening early; who takes our folder
# away ends it too.
h_pass() {
    while [ -p "${h_folder}$1$h_set.$2" ] && ! true >"${h_folder}$1$h_set.$2"; do
        :;
    done;
};

# h_pass_all LETTER NUMBER: the same for all pipes from this one on, so that the `cat` comes to an end.
h_pass_all() {
    trap - 0 1 2 15;
    exec </dev/null >/dev/null 7>&- 8>&- 9>&-;
    h_number=$2;
    while [ $h_number -le 32 ]; do
        h_pass $1 $h_number;
        h_number=$((h_number+1));
    done;
};

# h_carries PROCESS: whether it lives; one that is dead has no program any more, even where nobody has asked for it yet.
h_carries() {
    [ -e "/proc/$1/exe" ];
};

# h_give_up_pipes NUMBER NUMBER: the set is no longer used, because somebody still writes to it, or nobody carries it.
# What is written still is carried on. The numbers are those of the pipes that the two `cat` have not come to yet.
h_give_up_pipes() {
    set -- $1 $2 $h_carriers;
    h_carries $3 && h_pass_all v $1 &
    h_carries $4 && h_pass_all w $2 &
    h_set=0;
    h_slot=31;
    h_carriers=;
};

# h_next_pipes: h_slot becomes the next pair of pipes, h_out and h_err where they lead to. Fails where there are none.
# Changes h_number.
h_next_pipes() {
    # A `cat` that ended before its time (no room, no memory) is of no use any more, and its pipes may not be empty.
    [ $h_slot -gt 29 ] || for h_number in $h_carriers; do
        h_carries $h_number || {
            h_give_up_pipes $((h_slot+2)) $((h_slot+2));
            break;
        };
    done;
    if [ $h_set -eq 0 ]; then
        case $h_has_fdinfo$h_tools in
            1*,cat,mkfifo,*) ;;
            *) return 1;;
        esac;
        set --;
        h_number=1;
        while [ $h_number -le 32 ]; do
            set -- "$@" "${h_folder}v$h_run.$h_number" "${h_folder}w$h_run.$h_number";
            h_number=$((h_number+1));
        done;
        mkfifo "$@" || return 1;
        h_set=$h_run;
    fi;
    true >"${h_folder}x$h_set" && true >"${h_folder}y$h_set" || return 1;
    h_out=${h_folder}x$h_set;
    h_err=${h_folder}y$h_set;
    if [ $h_slot -gt 29 ]; then
        h_slot=-1;
        exec 7>>"$h_out" 8>>"$h_err";
        h_carry v >&7 &
        h_carriers=$!;
        h_carry w >&8 &
        h_carriers="$h_carriers $!";
    fi;
    h_slot=$((h_slot+2));
};

# h_carry LETTER: becomes the `cat` that reads these pipes of the set.
h_carry() {
    trap - 0 1 2 15;
    set -- "$1";
    h_number=1;
    while [ $h_number -le 32 ]; do
        set -- "$@" "${h_folder}$1$h_set.$h_number";
        h_number=$((h_number+1));
    done;
    shift;
    exec cat "$@" </dev/null 7>&- 8>&- 9>&-;
};

# -- Mode v: nothing can be written ------------------------------------------------------------------------------------

# The process that ran the command keeps its output in a variable, as lines that are ready to be said: p... of stdout,
# q... of stderr, and s with the status. Once it has said them it stops itself. It is made to say them again by USR1,
# which it takes when CONT wakes it; whether it has stopped again stands in /proc.

# h_v_spell: stdin in hexadecimal, 32 bytes a line, by the shell alone; like `od`.
h_v_spell() {
    h_note=;
    h_number=0;
    while IFS= read -r -d '' -n 1 h_this || [ -n "$h_this" ]; do
        if [ -z "$h_this" ]; then
            h_note="$h_note 0";
        else
            h_note="$h_note $(printf %x "'$h_this")";
        fi;
        h_number=$((h_number+1));
        [ $((h_number%32)) -ne 0 ] || {
            printf '%s\n' "$h_note";
            h_note=;
        };
    done;
    [ -z "$h_note" ] || printf '%s\n' "$h_note";
};

# h_v_encode STREAM: stdin as lines that begin with the stream's letter. It outlives a TERM, as the `cat` above.
h_v_encode() {
    trap '' 15;
    case $h_tools in
        *,base64,*) base64 $h_wrap;;
        *,od,*) od -An -v -tx1;;
        *) h_v_spell;;
    esac |
    while IFS= read -r h_this; do
        printf '%s\n' "$1$h_this";
    done;
};

# h_v_input: the input that was laid down, unpacked.
h_v_input() {
    case $h_input_packed in
        b) printf %s "$h_input" | base64 -d;;
        z) printf %s "$h_input" | base64 -d | gzip -d;;
        *) printf %b "$h_input";;
    esac;
};

# h_v_command MODE: the command, with its stderr on 4; its status goes to 5, past all else.
h_v_command() {
    trap : 15;
    ( trap - 15; exec 2>&4 4>&- 5>&-; h_as_login_left_it; h_execute $1 );
    echo "s$?" >&5;
};

# h_v_say: says the lines kept in h_first, numbered and twice, and the answer. v is hexadecimal, w base64.
# The counts are known only inside the pipe's last process, so all of it is done there.
h_v_say() {
    printf '%s\n' "$h_first" | {
        h_that=0;
        h_number=0;
        h_code=137;
        while IFS= read -r h_this; do
            case $h_this in
                p*) h_that=$((h_that+1));
                    h_this=$h_that/${h_this#p};
                    printf '%s\n' "${h_tag}p$h_that:$h_this|$h_this." >&9;;
                q*) h_number=$((h_number+1));
                    h_this=$h_number/${h_this#q};
                    printf '%s\n' "${h_tag}q$h_number:$h_this|$h_this." >&9;;
                s*) h_code=${h_this#s};;
            esac;
        done;
        h_this=v;
        case $h_tools in
            *,base64,*) h_this=w;;
        esac;
        h_second=$h_this;
        [ $h_that -gt 0 ] || h_this=-;
        [ $h_number -gt 0 ] || h_second=-;
        h_say $h_asked "+$h_code:$h_this:$h_that:$h_second:$h_number";
    };
};

# h_v_run MODE: runs the command, says its answer, and stops for good. stdout and stderr are encoded by a pipe each; 5
# is what the variable is made from. `$$` is not this process, but a child's parent is.
h_v_run() {
    trap - 0 1 2;
    trap : 15 TSTP TTIN TTOU;
    h_first=$( {
        {
            {
                case $1 in
                    *i*) h_v_input | h_v_command $1;;
                    *) h_v_command $1 </dev/null;;
                esac;
            } |
            h_v_encode p >&5;
        } 4>&1 |
        h_v_encode q >&5;
    } 5>&1 );
    trap h_v_say USR1;
    h_v_say;
    h_that=$(exec sh -c 'echo $PPID');
    while :; do
        kill -s STOP $h_that;
    done;
};

# h_v_has_stopped: whether the process of the latest command has stopped, or is no more. Changes h_this.
h_v_has_stopped() {
    h_this=;
    read -r h_this <"/proc/$h_pid/stat" || return 0;
    case ${h_this##*\) } in
        T*) return 0;;
    esac;
    return 1;
};

# h_v_say_again: has it say its answer again, and waits until it has.
h_v_say_again() {
    h_v_has_stopped && kill -s USR1 $h_pid && kill -s CONT $h_pid;
    while ! h_v_has_stopped; do
        :;
    done;
};

# -- What the shell and the tools can do -------------------------------------------------------------------------------

# h_wrap: how `base64` is told how long its lines are to be, where it can be told; h_wrap_long below, for a quick line.
h_wrap='-w 304';
base64 $h_wrap </dev/null >/dev/null 2>&1 || h_wrap=;
h_has_awk=;
case $h_tools in
    *,awk,*) h_has_awk=1;;
esac;

# h_has_fdinfo: whether the kernel tells how far a descriptor has been written.
h_has_fdinfo=;
exec 7</dev/null;
h_that=;
read -r h_that h_this </proc/self/fdinfo/7 && [ "$h_that" = pos: ] && h_has_fdinfo=1;
exec 7<&-;

# h_inline_most: how much output (bytes) may be said in the answer itself.
h_inline_most=@MAX@;
# h_input, h_input_packed: in mode v the input that is laid down, and how: n escaped, b base64, z compressed base64.
h_input=;
h_input_packed=;
# h_reads_bytes: whether `read` can read bytes one by one, NUL among them.
h_reads_bytes=$(echo x | { IFS= read -r -d '' -n 1 h_this; [ "$h_this" = x ] && echo 1; });
# Where there is no other way to say it, even a megabyte goes into the answer, if it is text.
case $h_tools$h_reads_bytes in
    *base64*|*,od,*|*,1) ;;
    *) h_inline_most=1000000;;
esac;

# h_mode: where a command's output goes, where nothing is known of the command (p, f or v).
h_mode=p;
case $h_tools in
    *,cat,*) ;;
    *) h_mode=f;;
esac;
[ -n "$h_folder" ] || h_mode=v;

# -- The first answer --------------------------------------------------------------------------------------------------

# h_hello: who we are: process, user (the first number behind `Uid:`), boot, and what was found above.
read -r h_note </proc/sys/kernel/random/boot_id;
read -r h_number h_that </proc/uptime;
h_that=;
while read -r h_this h_first h_second; do
    [ "$h_this" = Uid: ] && h_that=$h_first;
done </proc/self/status;
# h_job_control: m where `set -m` did what it should.
h_job_control=;
case $- in
    *m*) h_job_control=m;;
esac;
h_hello="hello:$$:${h_that:-?}:${h_note:-?}:$h_mode:$h_job_control:$h_has_fdinfo:$h_tools:$h_folder";
h_say @HELLO@ "$h_hello";

# -- Requests ----------------------------------------------------------------------------------------------------------

# h_line: the request from its verb on.     h_nonce: its nonce.
# $1 is its length, $2 its digest, $3 the verb, $4 and $5 the nonce's halves, $6 and so on the arguments.
# A line that lost or changed a character is answered with `!bad`, and nothing is done.
while IFS= read -r h_this; do
    h_line=${h_this#* * };
    set -- $h_this;
    h_nonce=$4$5;
    if [ "${#h_line}" -eq "$1" ] && h_digest && [ "$h_code" -eq "$2" ]; then
        case $3 in

            # R MODE COMMAND: run a command.
            R)
                # The one before has ended once it has answered; its files may still be large.
                [ -n "$h_pid" ] && [ -s "${h_folder}h$h_run" ] && wait $h_pid;
                [ -n "$h_folder" ] && [ -n "$h_pid" ] &&
                    { [ -s "${h_folder}p$h_run" ] || [ -s "${h_folder}q$h_run" ] || [ ! -s "${h_folder}h$h_run" ]; } &&
                    for h_this in "$h_out" "$h_err" "${h_folder}p$h_run" "${h_folder}q$h_run"; do
                        true >"$h_this";
                    done;
                # h_tag: what a data line begins with, the middle of the nonce.     h_that: the command's stdin.
                h_run=$((h_run+1));
                h_lost=;
                h_out=${h_folder}o$h_run;
                h_err=${h_folder}e$h_run;
                h_asked=$h_nonce;
                h_tag=${4#??}${5%??};
                h_that=/dev/null;
                case $6 in
                    *i*) h_that=${h_folder}i;;
                esac;
                # On a quick line compressing takes longer than saying it as it is, in longer lines.
                h_no_gzip=;
                h_wrap_long=$h_wrap;
                case $6 in
                    *n*) case $h_tools in
                            *sum,*) h_no_gzip=n;
                                h_wrap_long=${h_wrap:+-w 1216};;
                        esac;;
                esac;
                # The x keeps newlines at the end of the command.
                case $6 in
                    *a*) h_command=$(printf %bx "$h_long_command");
                        h_command=${h_command%x};;
                    *) h_command=${h_line#* * * * };;
                esac;
                case $6 in
                    v*) [ -z "$h_pid" ] || {
                            kill -s KILL $h_pid;
                            wait $h_pid;
                        };
                        ( h_v_run $6 ) &
                        h_pid=$!;;
                    # `:` gives the command 0 for a `$?`. The dot shows that there was room for all before it.
                    b*) h_pid=;
                        {
                            :;
                            eval "$h_command";
                            h_code=$?;
                            echo .;
                        } </dev/null >"${h_folder}o" 2>"${h_folder}e";
                        h_read_text "${h_folder}o";
                        h_first=${h_result%.~};
                        h_answer=;
                        [ "$h_first" != "$h_result" ] || h_answer=!full;
                        h_second=;
                        [ -s "${h_folder}e" ] && {
                            # Here h_command holds what h_note was.
                            h_command=$h_note;
                            h_read_text "${h_folder}e";
                            h_second=$h_result;
                            h_note=$h_note$h_command;
                        };
                        [ -z "$h_note" ] || h_answer=!encode;
                        h_answer=${h_answer:-=$h_code:${#h_first}:${#h_second}:$h_first$h_second};
                        h_say $h_asked "$h_answer";;
                    p*) h_this=$6;
                        h_next_pipes || h_this=q${6#p};
                        ( h_run_command $h_this ) &
                        h_pid=$!;;
                    *) ( h_run_command $6 ) &
                        h_pid=$!;;
                esac;
                # Now and then, by one process, files of commands that nobody asks for any more are removed.
                [ $((h_run%16)) -eq 0 ] && h_has rm && [ $h_run -gt 20 ] && {
                    set --;
                    h_that=$((h_run-20));
                    while [ $h_that -lt $((h_run-2)) ]; do
                        set -- "$@" "${h_folder}o$h_that" "${h_folder}e$h_that" "${h_folder}s$h_that" \
                            "${h_folder}a$h_that" "${h_folder}h$h_that" "${h_folder}p$h_that" "${h_folder}q$h_that";
                        h_that=$((h_that+1));
                    done;
                    rm -f "$@" &
                };;

            # A OFFSET TEXT: a piece of a long command, escaped for `printf %b`. Here and in I, a piece is taken only
            # where the text before it has just that length, so one that is typed twice is taken once; the answer
            # is the length that is there.
            A)
                h_that=${h_line#* * * * };
                [ $6 -eq 0 ] && h_long_command=;
                [ ${#h_long_command} -eq $6 ] && h_long_command="$h_long_command$h_that";
                h_say $h_nonce +${#h_long_command};;

            # I OFFSET TEXT: a piece of input.
            I)
                h_that=${h_line#* * * * };
                [ $6 -eq 0 ] && {
                    h_input_length=0;
                    h_input=;
                    [ $h_mode = v ] || true >"${h_folder}i";
                };
                [ $h_input_length -eq $6 ] && {
                    if [ $h_mode = v ]; then
                        h_input="$h_input$h_that";
                    else
                        printf %b "$h_that" >>"${h_folder}i";
                    fi;
                    h_input_length=$((h_input_length+${#h_that}));
                };
                h_say $h_nonce +$h_input_length;;

            # D HOW: the input is laid down; it is unpacked (n, b or z as above), and its checksum is the answer.
            D)
                h_input_packed=$6;
                if [ $h_mode = v ]; then
                    h_this=;
                    case $h_tools in
                        *,sha256sum,*) h_this=$(h_v_input | sha256sum);;
                        *,md5sum,*) h_this=$(h_v_input | md5sum);;
                        *,cksum,*) h_this=$(h_v_input | cksum);;
                    esac;
                    h_say $h_nonce "+${h_this%% *}";
                    continue;
                fi;
                case $6 in
                    b) base64 -d <"${h_folder}i" >"${h_folder}j";;
                    z) base64 -d <"${h_folder}i" | gzip -d >"${h_folder}j";;
                esac;
                case $6 in
                    n) ;;
                    *) cat <"${h_folder}j" >"${h_folder}i";
                        : >"${h_folder}j";;
                esac;
                h_checksum "${h_folder}i";
                h_say $h_nonce "+$h_this";;

            # S: how does the command stand that has this nonce? `-`: it was never run. `*`: it runs. `*s`: it has
            # ended, and something holds its output open. `*a`: it is being answered. `*x`: its process is gone and
            # left no answer. Where there is an answer, it is said again.
            S)
                if [ "$h_nonce" != "$h_asked" ]; then
                    h_say $h_nonce -;
                elif [ $h_mode = v ]; then
                    if ! kill -0 $h_pid; then
                        h_say $h_nonce '*x';
                    elif h_v_has_stopped; then
                        h_v_say_again;
                    else
                        h_say $h_nonce '*';
                    fi;
                elif [ -z "$h_pid" ]; then
                    h_say $h_nonce "$h_answer";
                elif [ -s "${h_folder}h$h_run" ]; then
                    IFS= read -r h_that <"${h_folder}h$h_run";
                    h_say $h_nonce "$h_that";
                elif ! kill -0 $h_pid; then
                    h_say $h_nonce '*x';
                elif [ -e "${h_folder}a$h_run" ]; then
                    h_say $h_nonce '*a';
                elif [ -e "${h_folder}s$h_run" ]; then
                    h_say $h_nonce '*s';
                else
                    h_say $h_nonce '*';
                fi;;

            # K SIGNAL: end the command that has this nonce.
            K)
                if [ "$h_nonce" = "$h_asked" ] && [ -n "$h_pid" ]; then
                    h_other=$6;
                    set +f;
                    h_signal_family;
                    set -f;
                fi;
                h_say $h_nonce "k$6";;

            # F: answer with what there is, whoever holds the output open. The process that was to answer is ended.
            # A descriptor that was just opened does not tell how much was written, so it is said in lines.
            F)
                if [ "$h_nonce" = "$h_asked" ] && [ $h_mode != v ] && [ -n "$h_pid" ] &&
                    [ ! -s "${h_folder}h$h_run" ]; then
                    kill -s KILL $h_pid;
                    wait $h_pid;
                    h_that=;
                    h_number=;
                    {
                        read -r h_that;
                        read -r h_number;
                    } <"${h_folder}s$h_run";
                    [ "$h_out" != "${h_folder}x$h_set" ] || for h_this in $h_carriers; do
                        h_carries $h_this || h_lost=1;
                    done;
                    ( h_code=${h_that:-137};
                        h_first=;
                        h_second=;
                        exec 7>>"$h_out" 8>>"$h_err";
                        h_has_fdinfo=;
                        h_answer_now ) &
                    h_pid=$!;
                    [ "$h_out" != "${h_folder}x$h_set" ] ||
                        h_give_up_pipes $((h_slot+1+${#h_number})) $((h_slot+1));
                else
                    h_say $h_nonce -;
                fi;;

            # L STREAM NUMBER SCRIPT: say these lines of the stream again; the script is one for `sed -n` (3p;4p;).
            # The answer comes after them, with the number.
            L)
                h_that=${h_line#* * * * * };
                if [ "$h_nonce" != "$h_asked" ]; then
                    :;
                elif [ $h_mode = v ]; then
                    h_v_say_again;
                else
                    case $h_tools in
                        *,sed,*) sed -n "$h_that" "$h_folder$6$h_run" >&9;;
                        *) h_other=0;
                            while IFS= read -r h_this; do
                                h_other=$((h_other+1));
                                case ";$h_that" in
                                    *";${h_other}p"*) printf '%s\n' "$h_this" >&9;;
                                esac;
                            done <"$h_folder$6$h_run";;
                    esac;
                fi;
                h_say $h_nonce ".$7";;

            # N: who are you?
            N)
                h_say $h_nonce "$h_hello";;

            # X: end. `exit` leads to h_leave.
            X)
                h_bye=$h_nonce;
                exit 0;;

            *)
                h_say $h_nonce "!verb";;
        esac;
    else
        h_say "$h_nonce" "!bad";
    fi;
done;
