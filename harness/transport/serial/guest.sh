# The guest's side of the serial transport. Nothing of it is installed: it is typed into `sh`, and lives in its memory.
#
# It reads requests, one a line, and answers them. A request is
#     ~VERB~H1~H2~ARGUMENTS~CHECK
# where H1 and H2 are the halves of a nonce, and CHECK covers all before the last separator. The separator is the first
# character of the line, any printable one that does not occur in the arguments; it stands for each blank in them, so
# no blank is ever typed. A command runs in a process group of its own, and its output is kept until the next command,
# so that an answer that was damaged on the line is read again, and the command never run again.
#
# How it is typed (typed.py): comments and indentation are left out, the lines are joined by blanks, and each name that
# begins with h_ gets a short one. So each line ends where a blank may follow: with `;`, `|`, `{`, `then`, a pattern's
# `)`, or ` \`. Such a name is never part of a longer word and never stands in quotes, but as `$h_...` in double ones.
# No command's own name begins so; a command may run in a fork of this shell, and must not meet what is ours.
# What stands between two `@` is filled in by guest.py. A guest with gzip and base64 gets the program compressed, and
# without the parts between `# [ only without gzip and base64` and `# ]`.
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
#     h_code    the exit status of a command
#     h_text    what h_digest works on; h_check is its result
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
# h_blank: what stands for a blank where the check is worked out. `IFS` cannot count blanks, and this one it can.
h_blank=$(printf '\002');
# h_killed: k where TERM reached the latest command before it had ended by itself.
h_killed=;

# The check needs arithmetic in 64 bits.
[ $((1<<40)) = 1099511627776 ] 2>/dev/null || {
    printf '%s<!arithmetic>\n' @HELLO@;
    exit 1;
};

# -- Words -------------------------------------------------------------------------------------------------------------

# h_say NONCE BODY: a message, with its check. Changes h_text and h_check.
h_say() {
    h_text="$1<$2";
    h_digest;
    printf '%s|%s>\n' "$h_text" "$h_check" >&9;
};

# h_say_line LINE: a data line, with its check. Changes h_text and h_check.
h_say_line() {
    h_text=$1;
    h_digest;
    printf '%s|%s.\n' "$1" "$h_check" >&9;
};

# h_has TOOL: whether the guest has it.
h_has() {
    command -v "$1" >/dev/null 2>&1;
};

# h_digest: h_check becomes the check of h_text (see guest.py, which writes this function). Fails where a character
# stands in it that is not printable ASCII.
@CHECK@

# h_program_check: the check of this program as it was typed, for the other side to compare: a damaged one could take a
# damaged request. The loader keeps the program in `a`: its length and its words are checked, some 500 characters at a
# time. `z` where it came compressed, under gzip's own checksum.
h_program_check=z;
# [ only without gzip and base64
h_program_check=${#a};
h_note=;
for h_this in $a; do
    h_note="$h_note$h_this ";
    [ ${#h_note} -lt 500 ] || {
        h_text="$h_program_check $h_note";
        h_note=;
        h_digest || h_check=-;
        h_program_check=$h_check;
    };
done;
h_text="$h_program_check $h_note";
h_digest || h_check=-;
h_program_check=$h_check;
# ]

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
    # A name that could not be said in an answer is of no use.
    case $h_this in
        *[!a-zA-Z0-9._/-]*) continue;;
    esac;
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
    [ -z "$h_bye" ] || h_say $h_bye Xbye;
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
# leaves their count in the file n. Each line has a check of its own where the line is known to do damage (h_checked);
# else one checksum covers them all, and awk writes twelve at a time, because each write to a terminal costs.
# Without awk, changes h_this and h_that.
h_say_lines() {
    if [ -n "$h_has_awk" ] && [ -z "$h_checked" ]; then
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
            if [ -n "$h_checked" ]; then
                h_say_line "$h_tag$1$h_that:$h_this";
            else
                printf '%s\n' "$h_tag$1$h_that:$h_this." >&9;
            fi;
        done;
        echo $h_that >"${h_folder}n";
    fi;
};

# [ only without gzip and base64
# h_spell: stdin in hexadecimal, 32 bytes a line, by the shell alone, as `od` does it. An empty h_this is a NUL byte,
# which ends a `read`. Changes h_this, h_note, h_number.
h_spell() {
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

# h_cut_text: stdin, which is text as h_read_text knows it, in lines of sixty characters at most, with `~` for each
# newline. Changes h_this, h_note.
h_cut_text() {
    while h_note='~'; IFS= read -r h_this || { h_note=; [ -n "$h_this" ]; }; do
        h_this=$h_this$h_note;
        while [ ${#h_this} -gt 60 ]; do
            h_note=${h_this#????????????????????????????????????????????????????????????};
            printf '%s\n' "${h_this%"$h_note"}";
            h_this=$h_note;
        done;
        printf '%s\n' "$h_this";
    done;
};

# ]
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
# with its own checksum), b or x (base64 or hexadecimal) and a checksum; w, v or t (base64, hexadecimal or text) where
# each line has its own check; or `!encode` where there is no way. h_tools begins with a comma; `n` before it keeps it
# from meeting the first pattern.
h_say_stream() {
    h_result=;
    h_this=-;
    if [ ! -s "$2" ]; then
        echo 0 >"${h_folder}n";
    else
        case $h_no_gzip$h_tools in
            ,*,gzip,*base64,*) gzip -1 -c <"$2" | base64 $h_wrap_now | h_say_lines $1;
                h_this=z;;
            *,base64,*)
                if [ -n "$h_checked" ]; then
                    base64 $h_wrap_now <"$2" | h_say_lines $1;
                    h_this=w;
                else
                    # The checksum is worked out while the lines are said.
                    { h_checksum "$2"; echo "$h_this" >"${h_folder}c"; } &
                    base64 $h_wrap_now <"$2" | h_say_lines $1;
                    wait $!;
                    read -r h_this <"${h_folder}c";
                    h_this=b$h_this;
                fi;;
            # [ only without gzip and base64
            *,od,*) od -An -v -tx1 <"$2" | h_say_lines $1;
                if [ -n "$h_checked" ]; then
                    h_this=v;
                else
                    h_checksum "$2";
                    h_this=x$h_this;
                fi;;
            *) h_checked=k;
                if [ -n "$h_reads_bytes" ]; then
                    h_spell <"$2" | h_say_lines $1;
                    h_this=v;
                else
                    h_read_text "$2";
                    # A NUL byte is none of those that `read` has got, and only the size tells.
                    h_this=t;
                    [ -z "$h_note" ] && [ "$3" != ? ] && [ ${#h_result} -eq $3 ] || h_this=!encode;
                    if [ $h_this = t ]; then
                        h_cut_text <"$2" | h_say_lines $1;
                    else
                        echo 0 >"${h_folder}n";
                    fi;
                fi;;
            # ]
        esac;
    fi;
    h_result=$h_this;
    read -r h_this <"${h_folder}n";
    h_result="$h_result:$h_this";
};

# h_answer_now: makes the answer of a command that ended with h_code, keeps it and says it. Short text is said in the
# answer itself: `=STATUS:LENGTH:LENGTH:STDOUTSTDERR`; all else before it, in lines: `+STATUS:HOW:COUNT:HOW:COUNT`.
# The status of a command that was ended before its time has a k behind it.
# How much there is, and whether h_read_text got all of it (it knows no NUL byte), is told by how far descriptors 7 and
# 8 have been written; that of a file which was emptied in between tells nothing until something is written again.
# h_first and h_second are empty before; h_lost is set where output is known to be lost. The file `a` comes first: from
# here on no signal.
h_answer_now() {
    h_answer=;
    h_note=;
    h_other=?;
    h_error_size=?;
    if [ -n "$h_has_fdinfo" ]; then
        read -r h_that h_other </proc/self/fdinfo/7;
        read -r h_that h_error_size </proc/self/fdinfo/8;
        [ -s "$h_out" ] || h_other=0;
        [ -s "$h_err" ] || h_error_size=0;
        if [ $((h_other+h_error_size)) -le $h_inline_now ]; then
            h_read_text "$h_out";
            h_first=$h_result;
            [ -n "$h_note" ] || {
                h_read_text "$h_err";
                h_second=$h_result;
            };
            [ -z "$h_note" ] && [ ${#h_first} -eq $h_other ] && [ ${#h_second} -eq $h_error_size ] &&
                h_answer="=$h_code$h_killed:$h_other:$h_error_size:$h_first$h_second";
        fi;
    fi;
    [ -n "$h_answer" ] || {
        : >"${h_folder}a$h_run";
        h_say_stream p "$h_out" $h_other;
        h_first=$h_result;
        h_say_stream q "$h_err" $h_error_size;
        h_answer="+$h_code$h_killed:$h_first:$h_result";
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
#     kN each data line has a check of its own, and holds no more than N characters

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

# h_note_signal: what a shell that is to answer does when TERM comes.
h_note_signal() {
    h_killed=k;
};

# h_end_by_signal: the same, where the command is run by the shell that is to answer.
h_end_by_signal() {
    h_killed=k;
    exit 143;
};

# h_after_eval: the command of mode fe was `eval`ed by this very process, which ends (trap 0) and answers with what it
# has for a status, after taking back what the command may have changed.
h_after_eval() {
    h_code=$?;
    trap - 0;
    trap h_note_signal 15;
    LC_ALL=C;
    set -f;
    umask 077;
    unset IFS;
    h_first=;
    h_second=;
    h_answer_now;
};

# h_run_words: runs h_command in this very shell, for mode b. `:` gives it 0 for a `$?`. The dot shows that there was room
# for all before it.
h_run_words() {
    :;
    eval "$h_command";
    h_code=$?;
    echo .;
};

# h_run_command MODE: runs h_command with stdin from the file h_that, and answers. It has a process of its own.
# TERM, when the command is to end, reaches the whole family: this shell catches it and lives on to answer (h_note_signal,
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
            trap h_end_by_signal 15;
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
        f*) trap h_note_signal 15;
            ( exec <"$h_that" >&7 2>&8 7>&- 8>&-; h_as_login_left_it; h_execute $1 );
            h_code=$?;
            echo $h_code >"${h_folder}s$h_run";;
        p*) trap h_note_signal 15;
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
            trap h_note_signal 15;;
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

# h_carry LETTER: becomes the `cat` that reads these pipes of the set. It keeps 512 MiB at most (in some shells 1 GiB),
# so that what writes without an end is ended before the memory is full.
h_carry() {
    ulimit -f 1048576;
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

# h_v_encode STREAM: stdin as lines that begin with the stream's letter. It outlives a TERM, as the `cat` above.
h_v_encode() {
    trap '' 15;
    case $h_tools in
        *,base64,*) base64 $h_wrap_now;;
        # [ only without gzip and base64
        *,od,*) od -An -v -tx1;;
        *) h_spell;;
        # ]
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

# h_v_say: says the lines kept in h_first, numbered, and the answer. v is hexadecimal, w base64.
# The counts are known only inside the pipe's last process, so all of it is done there.
h_v_say() {
    printf '%s\n' "$h_first" | {
        h_that=0;
        h_number=0;
        h_code=137;
        while IFS= read -r h_this; do
            case $h_this in
                p*) h_that=$((h_that+1));
                    h_say_line "${h_tag}p$h_that:${h_this#p}";;
                q*) h_number=$((h_number+1));
                    h_say_line "${h_tag}q$h_number:${h_this#q}";;
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
        h_say $h_asked "+$h_code$h_killed:$h_this:$h_that:$h_second:$h_number";
    };
};

# h_v_run MODE: runs the command, says its answer, and stops for good. stdout and stderr are encoded by a pipe each; 5
# is what the variable is made from. `$$` is not this process, but a child's parent is.
h_v_run() {
    trap - 0 1 2;
    trap h_note_signal 15;
    trap : TSTP TTIN TTOU;
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
    # A signal is noted when the shell comes to it; one that comes later ended nothing.
    trap : 15;
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

# h_wrap: how `base64` is told how long its lines are to be, where it can be told; h_wrap_now for the latest command.
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
# h_always_checked: k where there is no checksum tool, so that each data line needs a check of its own.
h_always_checked=k;
case $h_tools in
    *sum,*) h_always_checked=;;
esac;
# h_input, h_input_packed: in mode v the input that is laid down, and how: n escaped, b base64, z compressed base64.
h_input=;
h_input_packed=;
# h_input_file: where the input is, unpacked.
h_input_file=;
# [ only without gzip and base64
# h_reads_bytes: whether `read` can read bytes one by one, NUL among them.
h_reads_bytes=$(echo x | { IFS= read -r -d '' -n 1 h_this; [ "$h_this" = x ] && echo 1; });
# ]

# h_mode: where a command's output goes, where nothing is known of the command (p, f or v).
h_mode=p;
case $h_tools in
    *,cat,*) ;;
    *) h_mode=f;;
esac;
[ -n "$h_folder" ] || h_mode=v;

# -- The first answer --------------------------------------------------------------------------------------------------

# h_hello: who we are: process, user (the first number behind `Uid:`), boot, what was found above, and the program's check.
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
h_hello="Nhello:$$:${h_that:-?}:${h_note:-?}:$h_mode:$h_job_control:$h_has_fdinfo:$h_tools:$h_program_check:$h_folder";
# h_self: the nonce of the first answer. It is also that of `!`, which says that a line came which is no request.
h_self=@HELLO@;
h_say $h_self "$h_hello";

# h_has_drained: whether who carries the output of the latest command has no more to read, as far as that is known. A
# `cat` that has something to read is not asleep, though a busy machine may let it wait; a stopped one reads later.
# Without named pipes they are children of the process that is to answer, and theirs; the command's own have another
# parent by then. Changes h_this, h_that, h_first, h_second.
h_has_drained() {
    h_first=$h_carriers;
    [ "$h_out" = "${h_folder}x$h_set" ] || {
        h_first=;
        read -r h_first <"/proc/$h_pid/task/$h_pid/children";
        for h_this in $h_first; do
            h_second=;
            read -r h_second <"/proc/$h_this/task/$h_this/children";
            h_first="$h_first $h_second";
        done;
    };
    for h_this in $h_first; do
        h_that=;
        read -r h_that <"/proc/$h_this/stat" || continue;
        case ${h_that##*\) } in
            [RDTt]*) return 1;;
        esac;
    done;
};

# h_say_state: how the command stands that has the nonce h_nonce. `S-`: it was never run. `S*`: it runs. `S*s`: it has
# ended, and something holds its output open. `S*d`: it has ended, and output is still carried. `S*a`: it is being
# answered. `S*x`: its process is gone and left no answer.
# Where there is an answer, it is said again. Changes h_this, h_that, h_first, h_second.
h_say_state() {
    if [ "$h_nonce" != "$h_asked" ]; then
        h_say $h_nonce S-;
    elif [ $h_mode = v ]; then
        if ! kill -0 $h_pid; then
            h_say $h_nonce 'S*x';
        elif h_v_has_stopped; then
            h_v_say_again;
        else
            h_say $h_nonce 'S*';
        fi;
    elif [ -z "$h_pid" ]; then
        h_say $h_nonce "$h_answer";
    elif [ -s "${h_folder}h$h_run" ]; then
        IFS= read -r h_that <"${h_folder}h$h_run";
        h_say $h_nonce "$h_that";
    elif ! kill -0 $h_pid; then
        h_say $h_nonce 'S*x';
    elif [ -e "${h_folder}a$h_run" ]; then
        h_say $h_nonce 'S*a';
    elif [ -e "${h_folder}s$h_run" ]; then
        if h_has_drained; then
            h_say $h_nonce 'S*s';
        else
            h_say $h_nonce 'S*d';
        fi;
    else
        h_say $h_nonce 'S*';
    fi;
};

# h_say_anew WIDTH: says the answer of the latest command once more, under the nonce h_nonce that it has from now on, in
# data lines of that width that have a check each. Fails where there is none, or where it was no more than one line of
# this shell's own. Changes h_that, h_code, and how the command is encoded.
h_say_anew() {
    [ -n "$h_folder" ] && [ -n "$h_pid" ] && [ -s "${h_folder}h$h_run" ] || return 1;
    case $h_tools$h_reads_bytes in
        *,base64,*|*,od,*|*,1) ;;
        *) return 1;;
    esac;
    IFS= read -r h_that <"${h_folder}h$h_run";
    case $h_that in
        [=+]*) ;;
        *) return 1;;
    esac;
    h_code=${h_that%%:*};
    h_code=${h_code#?};
    h_killed=;
    case $h_code in
        *k) h_killed=k;;
    esac;
    h_code=${h_code%k};
    h_take_nonce;
    h_checked=k;
    h_wrap_now=${h_wrap:+-w $1};
    ( h_first=;
        h_second=;
        exec 7>>"$h_out" 8>>"$h_err";
        h_has_fdinfo=;
        h_answer_now );
};

# h_take_nonce: the latest command has the nonce h_nonce from now on. Its middle, h_tag, is what a data line begins with.
h_take_nonce() {
    h_asked=$h_nonce;
    h_tag=${h_nonce#??};
    h_tag=${h_tag%??};
};

# -- Requests ----------------------------------------------------------------------------------------------------------

# h_verb, h_nonce, h_argument: the request's verb, nonce and first argument.     h_rest: the other arguments.
# A line that is no request, or that lost or changed a character, is answered with `!` under our own nonce, and nothing
# is done. That names no request, so it is only a reason to ask how things stand.
while IFS= read -r h_this; do
    h_that=${h_this%"${h_this#?}"};
    h_text=${h_this%"$h_that"*};
    h_other=${h_this##*"$h_that"};
    if [ -n "$h_text" ] && h_digest && [ "$h_check" = "$h_other" ]; then
        IFS=$h_that;
        set -- $h_this;
        h_verb=$2;
        h_nonce=$3$4;
        h_argument=$5;
        h_rest=;
        [ $# -lt 6 ] || {
            shift 5;
            IFS=\ ;
            h_rest="$*";
            h_rest=${h_rest% *};
        };
        unset IFS;
        # A command that was asked for already is not run again.
        [ $h_verb != R ] || [ $h_nonce != "$h_asked" ] || h_verb=S;
        case $h_verb in

            # R MODE COMMAND: run a command.
            R)
                # The one before has ended once it has answered; its files may still be large.
                [ -n "$h_pid" ] && [ -s "${h_folder}h$h_run" ] && wait $h_pid;
                [ -n "$h_folder" ] && [ -n "$h_pid" ] &&
                    { [ -s "${h_folder}p$h_run" ] || [ -s "${h_folder}q$h_run" ] || [ ! -s "${h_folder}h$h_run" ]; } &&
                    for h_this in "$h_out" "$h_err" "${h_folder}p$h_run" "${h_folder}q$h_run"; do
                        true >"$h_this";
                    done;
                # h_that: the command's stdin.
                h_lost=;
                h_killed=;
                h_take_nonce;
                h_that=/dev/null;
                h_no_gzip=;
                h_checked=$h_always_checked;
                h_wrap_now=$h_wrap;
                h_inline_now=$h_inline_most;
                case $h_argument in
                    *[ik]*|*n) case $h_argument in
                            *i*) h_that=$h_input_file;;
                        esac;
                        case $h_argument in
                            *k*) h_checked=k;
                                h_inline_now=${h_argument##*k};
                                h_wrap_now=${h_wrap:+-w $h_inline_now};;
                        esac;
                        # On a quick line compressing takes longer than saying it as it is, in longer lines.
                        case $h_argument$h_tools in
                            *n*,*sum,*) h_no_gzip=n;
                                [ -n "$h_checked" ] || h_wrap_now=${h_wrap:+-w 1216};;
                        esac;;
                esac;
                # The x keeps newlines at the end of the command.
                case $h_argument in
                    *a*) h_command=$(printf %bx "$h_long_command");
                        h_command=${h_command%x};;
                    *) h_command=$h_rest;;
                esac;
                case $h_argument in
                    # What takes no process has no files with a number, so there are none to be removed.
                    b*) ;;
                    *) h_run=$((h_run+1));
                        h_out=${h_folder}o$h_run;
                        h_err=${h_folder}e$h_run;;
                esac;
                case $h_argument in
                    v*) [ -z "$h_pid" ] || {
                            kill -s KILL $h_pid;
                            wait $h_pid;
                        };
                        ( h_v_run $h_argument ) &
                        h_pid=$!;;
                    b*) h_pid=;
                        # Only with a redirection can there be anything on stderr.
                        case $h_command in
                            *\>*) h_run_words >"${h_folder}o" 2>"${h_folder}e";;
                            *) h_run_words >"${h_folder}o";;
                        esac;
                        h_read_text "${h_folder}o";
                        h_first=${h_result%.~};
                        h_answer=;
                        [ "$h_first" != "$h_result" ] || h_answer=!full;
                        h_second=;
                        case $h_command in
                            # Here h_command holds what h_note was.
                            *\>*) h_command=$h_note;
                                h_read_text "${h_folder}e";
                                h_second=$h_result;
                                h_note=$h_note$h_command;;
                        esac;
                        [ -z "$h_note" ] || h_answer=!encode;
                        h_answer=${h_answer:-=$h_code:${#h_first}:${#h_second}:$h_first$h_second};
                        h_say $h_asked "$h_answer";;
                    p*) h_this=$h_argument;
                        h_next_pipes || h_this=q${h_argument#p};
                        ( h_run_command $h_this ) &
                        h_pid=$!;;
                    *) ( h_run_command $h_argument ) &
                        h_pid=$!;;
                esac;
                # Now and then, by one process, files of commands that nobody asks for any more are removed.
                [ -n "$h_pid" ] && [ $((h_run%16)) -eq 0 ] && h_has rm && [ $h_run -gt 20 ] && {
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
                [ $h_argument -eq 0 ] && h_long_command=;
                [ ${#h_long_command} -eq $h_argument ] && h_long_command="$h_long_command$h_rest";
                h_say $h_nonce A${#h_long_command};;

            # I OFFSET TEXT: a piece of input.
            I)
                [ $h_argument -eq 0 ] && {
                    h_input_length=0;
                    h_input=;
                    [ $h_mode = v ] || true >"${h_folder}i";
                };
                [ $h_input_length -eq $h_argument ] && {
                    if [ $h_mode = v ]; then
                        h_input="$h_input$h_rest";
                    else
                        printf %b "$h_rest" >>"${h_folder}i";
                    fi;
                    h_input_length=$((h_input_length+${#h_rest}));
                };
                h_say $h_nonce I$h_input_length;;

            # D HOW: the input is laid down; it is unpacked (n, b or z as above), and its checksum is the answer. What
            # was laid down is kept, so that this may be asked for again.
            D)
                h_input_packed=$h_argument;
                h_this=;
                if [ $h_mode = v ]; then
                    case $h_tools in
                        *,sha256sum,*) h_this=$(h_v_input | sha256sum);;
                        *,md5sum,*) h_this=$(h_v_input | md5sum);;
                        *,cksum,*) h_this=$(h_v_input | cksum);;
                    esac;
                    h_this=${h_this%% *};
                else
                    h_input_file=${h_folder}j;
                    case $h_argument in
                        b) base64 -d <"${h_folder}i" >"$h_input_file";;
                        z) base64 -d <"${h_folder}i" | gzip -d >"$h_input_file";;
                        *) h_input_file=${h_folder}i;;
                    esac;
                    h_checksum "$h_input_file";
                fi;
                h_say $h_nonce "D$h_this";;

            # S: how does the command stand that has this nonce?
            S)
                h_say_state;;

            # K SIGNAL: end the command that has this nonce. The answer is `Kr` where it got the signal, `Ke` where it
            # had ended, and `K-` where it was never run.
            K)
                if [ "$h_nonce" != "$h_asked" ]; then
                    h_that=-;
                elif [ -z "$h_pid" ] || { [ $h_mode = v ] && h_v_has_stopped; } ||
                    { [ -n "$h_folder" ] && { [ -s "${h_folder}h$h_run" ] || [ -e "${h_folder}a$h_run" ]; }; }; then
                    h_that=e;
                else
                    h_killed=k;
                    h_other=$h_argument;
                    set +f;
                    h_signal_family;
                    set -f;
                    h_that=r;
                fi;
                h_say $h_nonce K$h_that;;

            # F: answer with what there is, whoever holds the output open. The process that was to answer is ended.
            # A descriptor that was just opened does not tell how much was written, so it is said in lines. The answer is
            # that of the command, or `F-` where there is nothing to be done.
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
                    h_say $h_nonce F-;
                fi;;

            # L STREAM NUMBER SCRIPT: say these lines of the stream again, each with a check; the script is one for
            # `sed -n` (3p;4,7p;). `LNUMBER` follows them.
            L)
                h_number=${h_rest%% *};
                h_that=${h_rest#* };
                if [ "$h_nonce" != "$h_asked" ]; then
                    :;
                elif [ $h_mode = v ]; then
                    h_v_say_again;
                else
                    case $h_tools in
                        *,sed,*) sed -n "$h_that" "$h_folder$h_argument$h_run";;
                        *) h_other=0;
                            while IFS= read -r h_this; do
                                h_other=$((h_other+1));
                                case ";$h_that" in
                                    *";${h_other}p"*) printf '%s\n' "$h_this";;
                                esac;
                            done <"$h_folder$h_argument$h_run";;
                    esac |
                    while IFS= read -r h_this; do
                        h_say_line "${h_this%.}";
                    done;
                fi;
                h_say $h_nonce L$h_number;;

            # E H1 H2 WIDTH: say the answer of the command that has the nonce of these halves anew, under the nonce of this
            # request. `E0` where that cannot be done (yet), `E-` where that command was never run.
            E)
                if [ "$h_nonce" = "$h_asked" ]; then
                    h_say_state;
                elif [ "$h_argument${h_rest% *}" = "$h_asked" ]; then
                    h_say_anew ${h_rest#* } || h_say $h_nonce E0;
                else
                    h_say $h_nonce E-;
                fi;;

            # N: who are you?
            N)
                h_say $h_nonce "$h_hello";;

            # X: end. `exit` leads to h_leave.
            X)
                h_bye=$h_nonce;
                exit 0;;

            *)
                h_say $h_nonce "$h_verb!";;
        esac;
    else
        h_say $h_self !;
    fi;
done;
