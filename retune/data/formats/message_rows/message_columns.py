"""Which column of a table with one message a row holds what: by the settings, else by names and content."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from retune.choices import ConversationStart
from retune.data.formats.column_names import MESSAGES, check_columns, field_value, listed_columns
from retune.data.formats.known_columns import find_preference, guess_pair
from retune.data.formats.message_rows.message_order import (
    Order,
    count_pauses,
    find_order,
    find_unread,
    plain_number,
    unreadable,
)
from retune.data.formats.message_rows.speakers import (
    Speakers,
    find_bots,
    find_speakers,
    is_flag_name,
    named_speakers,
    unknown_assistant,
)
from retune.data.formats.role_names import plain_name, role_of, words
from retune.data.sources.blocks import Source
from retune.errors import SourceError
from retune.message_rows_config import MessageRowsConfig
from retune.training_lines.keys import MINIMUM_EXAMPLES, JsonMapping

Rows = Sequence[JsonMapping]

EVENT = "subtype"
"""The column in which Slack names what happened."""

THREAD = "threadts"
"""The column that names Slack's threads; a message outside of them has none."""

_CONVERSATIONS = words(
    "conversationid conversationuuid conversation convid conv dialogueid dialogue dialogid dialog threadid thread "
    "threadts messagetreeid ticketid ticketnumber ticket caseid casenumber case sessionid session chatsessionid chatid "
    "chat interactionid callid 会话id 会话 对话id 对话 会話id 会話 スレッドid スレッド チケット id"
)
_ROOMS = words(
    "roomname roomid room channelname channelid channel chatname chattitle groupname group contactname contact "
    "phonenumber phone peer workspace 群聊 聊天对象 トークルーム"
)
_SPEAKERS = words(
    "role senderrole senderrolename authorrole speakerrole participantrole authortype sendertype usertype speakertype "
    "messageauthortype issender isfromme fromme isbot isagent isassistant isoutgoing outgoing isself issend inbound "
    "isinbound incoming direction messagedirection sender from author speaker speakeridx speakerid speakerindex "
    "participant fromname sendername authorname who sentby writtenby user username talker type isuser iscustomer "
    "ishuman isstaff isoperator "
    "角色 发送者 发送人 发言人 话者 話者 送信者 発言者 役割"
)
_TEXTS = words(
    "content text message messagetext messagecontent messagebody body msg utterance strcontent value comment plainbody "
    "transcript reply 内容 消息 消息内容 文本 本文 メッセージ 発言 テキスト"
)
_PLACES = words(
    "utteranceidx utteranceid utteranceindex turn turnid turnidx turnindex turnnumber messageindex messageidx "
    "messagenumber position sequence seq index idx order 轮次"
)
_TIMES = words(
    "time timestamp datetime date createdat createtime created sentat sent sentdate postedat messagetime messagedate "
    "messagecreatedat createdtime createddate datecreated datesent ts 时间 时间戳 日期 日時 送信日時"
)
_IDS = words("id messageid messageuuid tweetid msgid uuid commentid")
_PARENTS = words(
    "parentid parent parentmessageid parentuuid inreplyto inreplytoid inresponsetotweetid inresponseto replytoid "
    "replyto inreplytostatusid inreplytotweetid"
)
_BOTS = words("botid botname")
_KINDS = words("typename messagetype msgtype type contenttype kind")
_PLAIN_KINDS = words("text message comment conversation_message 文本 plain テキスト")
# What Slack writes into its logs, and nobody said.
_EVENTS = words(
    "channel_join channel_leave channel_topic channel_purpose channel_name channel_archive channel_unarchive "
    "group_join group_leave pinned_item unpinned_item bot_add bot_remove reminder_add huddle_thread tombstone"
)
_MOST_SPEAKERS = 20
# One of the first rows at most in so many may hold no text in a column of texts.
_LEAST_FILLED = 0.5


@dataclass(frozen=True, slots=True)
class MessageColumns:
    """What each column of a table with one message a row holds.

    Attributes:
        conversation: Which conversation a message belongs to, or which room it was said in; None for one file.
        speakers: Who speaks.
        text: What is said.
        order: What puts them in order; None for the order of the source.
        parent: Of messages that name the one that they answer, the columns of their name and of that one's; None where
            there are none.
        kind: A column that says of each message whether it is text; None where there is none.
        start: Where the next conversation begins; never `auto`.
        assumed: What nothing in the source says, for people; empty where the columns say all.
        unread: Why a column with times puts nothing in order, for people; empty where one does, or there is none.
    """

    conversation: str | None
    speakers: Speakers
    text: str
    order: Order | None
    parent: tuple[str, str] | None
    kind: str | None
    start: ConversationStart
    assumed: tuple[str, ...]
    unread: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are read."""
        order = self.order.column if self.order else None
        names = (self.conversation, self.speakers.column, self.text, order, *(self.parent or ()), self.kind)
        return tuple(dict.fromkeys(name for name in names if name is not None))


def find_message_columns(source: Source, rows: Rows, settings: MessageRowsConfig) -> MessageColumns | None:
    """Tell whether a row is a message, and which column holds what.

    Raises:
        SourceError: A named column is not there; or it is a table of messages, and nothing says which are the
            assistant's.
    """
    _check_named(source, settings)
    finder = _Finder(source.columns, rows, settings)
    if not settings.names_columns and _is_another_shape(source.columns):
        return None
    text = settings.text_column or finder.text()
    conversation = settings.conversation_column or finder.conversation()
    speakers = finder.speakers()
    if text is None or speakers is None:
        if settings.names_columns:
            raise _missing(source, "role" if text else "text")
        asked = finder.unknown_speakers()
        if text is None or asked is None or (conversation is None and not finder.is_log_of(asked)):
            return None
        raise unknown_assistant(source.name, rows, asked, conversation, text)
    if conversation is None and speakers.kind == "words":
        conversation = finder.conversation_by_name()
    return finder.columns_of(conversation, speakers, text)


@dataclass(frozen=True, slots=True)
class _Finder:
    names: tuple[str, ...]
    rows: Rows
    settings: MessageRowsConfig

    def _among(self, wanted: Sequence[str]) -> Iterator[str]:
        fields = list(self._fields())
        flags = {plain_name(name.rsplit(".", 1)[-1]): name for name in fields if is_flag_name(name)}
        by_name = flags | {plain_name(name): name for name in reversed((*self.names, *fields))}
        return (by_name[name] for name in wanted if name in by_name)

    def _fields(self) -> Iterator[str]:
        """What lies in objects that say who speaks, as Discord's `author.isBot`."""
        for name in self.names:
            if plain_name(name) in _SPEAKERS:
                cells = (cell for row in self.rows if isinstance(cell := row.get(name), dict))
                yield from (f"{name}.{key}" for key in next(cells, ()))

    def text(self) -> str | None:
        return next(filter(self._are_texts, self._among(_TEXTS)), None)

    def _are_texts(self, column: str) -> bool:
        values = [row.get(column) for row in self.rows]
        texts = [value for value in values if isinstance(value, str) and value.strip()]
        parts = [value for value in values if isinstance(value, list) and value and isinstance(value[0], dict)]
        return len(texts) + len(parts) >= max(1.0, _LEAST_FILLED * len(values)) and not any(map(role_of, texts))

    def conversation(self) -> str | None:
        """A column of such a name whose values come more than once."""
        return next((name for name in self._among(_CONVERSATIONS) if self._repeats(name)), None)

    def conversation_by_name(self) -> str | None:
        """A column of such a name, whatever the first rows say."""
        return next((name for name in self._among(_CONVERSATIONS) if plain_name(name) != "id"), None)

    def _repeats(self, column: str) -> bool:
        return self._count_different(column) is not None

    def _count_different(self, column: str) -> int | None:
        """How many different values there are; None where none comes twice."""
        cells = (field_value(row, column) for row in self.rows)
        values = [value for value in cells if isinstance(value, str | int) and value != ""]
        return len(set(values)) if len(set(values)) < len(values) else None

    def speakers(self) -> Speakers | None:
        settings = self.settings
        columns = [settings.role_column] if settings.role_column else list(self._among(_SPEAKERS))
        if settings.assistant_role is not None:
            named = [named_speakers(column, settings.assistant_role, self.rows) for column in columns]
            return next((speakers for speakers in named if speakers.speak_in(self.rows)), next(iter(named), None))
        has_conversation = self.conversation_by_name() is not None
        found = [
            speakers
            for column in columns
            if (speakers := find_speakers(column, self.rows, one_is_enough=has_conversation)) is not None
        ]
        found += [speakers for name in self._among(_BOTS) if (speakers := find_bots(name, self.rows)) is not None]
        return min(found, key=lambda speakers: speakers.kind in ("turns", "filled"), default=None)

    def unknown_speakers(self) -> str | None:
        """The column that tells who speaks, where its words say nothing by themselves."""
        return self.settings.role_column or next(
            (name for name in self._among(_SPEAKERS) if self._repeats(name) and not is_flag_name(name)), None
        )

    def is_log_of(self, speakers: str) -> bool:
        """Whether a few people speak again and again, each at a time."""
        n_speakers = self._count_different(speakers)
        is_few = n_speakers is not None and 1 < n_speakers <= min(_MOST_SPEAKERS, len(self.rows) // 2)
        return is_few and any(map(self._times, self._among(_TIMES)))

    def columns_of(self, conversation: str | None, speakers: Speakers, text: str) -> MessageColumns:
        settings = self.settings
        taken = {conversation, speakers.column, text}
        parent = self._parent(taken)
        is_whole = conversation is not None or parent is not None
        if not is_whole:
            conversation = next((n for n in self._among(_ROOMS) if n not in taken and self._repeats(n)), None)
        order = self._order(has_conversation=is_whole)
        start, assumed = settings.conversation_start, list[str]()
        if start is ConversationStart.AUTO:
            start = ConversationStart.WHOLE if is_whole else self._start(speakers, order)
            if not is_whole:
                assumed.append(_said_of_start(conversation, start, settings))
        elif start is ConversationStart.PAUSE and (order is None or not order.is_time):
            raise SourceError(
                "--conversation-start pause needs times, and no column of them could be read.",
                hint="Name it by --time-column, or choose another start.",
            )
        if speakers.kind == "turns":
            assumed.append(
                f"{speakers.column} doesn't say who is the assistant: whoever speaks first in a conversation is taken "
                "as the user, and the other one as the assistant"
            )
        kinds = (name for name in self._among(_KINDS) if name not in taken and self._are_kinds(name))
        said = (start, tuple(assumed), "" if order or parent else self._unread_times(conversation))
        return MessageColumns(conversation, speakers, text, order, parent, next(kinds, None), *said)

    def _parent(self, taken: Collection[str | None]) -> tuple[str, str] | None:
        """The columns of a message's name and of the one that it answers, where rows do name others."""
        for parent in self._among(_PARENTS):
            said = {plain_number(row.get(parent)) for row in self.rows} - {None}
            for name in self._among(_IDS):
                if name not in taken and said & {plain_number(row.get(name)) for row in self.rows}:
                    return name, parent
        return None

    def _order(self, *, has_conversation: bool) -> Order | None:
        named = self.settings.time_column
        if named is not None:
            if (order := self._times(named)) is None:
                raise unreadable(named, self.rows)
            return order
        # A running number may start anew with every conversation.
        places = self._among(_PLACES) if has_conversation else iter(())
        found = (find_order(name, self.rows, is_time=False) for name in places)
        times = map(self._times, self._among(_TIMES))
        return next((order for order in (*found, *times) if order is not None), None)

    def _times(self, column: str) -> Order | None:
        return find_order(column, self.rows, is_time=True, day_first=self.settings.day_first)

    def _unread_times(self, conversation: str | None) -> str:
        """Why the times that there are put nothing in order, for people.

        Raises:
            SourceError: The order of the rows can't stand for theirs.
        """
        found = (find_unread(name, self.rows, conversation) for name in self._among(_TIMES))
        unread = next((each for each in found if each is not None), None)
        if unread is not None and unread.is_newest_first:
            raise unread.error()
        return "" if unread is None else unread.says

    def _start(self, speakers: Speakers, order: Order | None) -> ConversationStart:
        roles = [speakers.role(row.get(speakers.column), "") for row in self.rows]
        if roles.count("system") > 1:
            return ConversationStart.SYSTEM
        if order is not None and order.is_time:
            n_pauses = count_pauses(order, self.rows, 60 * self.settings.pause_minutes)
            # Where the first rows are a few long talks, too few examples would come of them.
            if n_pauses + 1 >= MINIMUM_EXAMPLES:
                return ConversationStart.PAUSE
        return ConversationStart.QUESTION

    def _are_kinds(self, column: str) -> bool:
        return any(is_plain_kind(row.get(column)) for row in self.rows)


def is_event(values: JsonMapping) -> bool:
    """Whether a row of Slack's says that something happened, and nothing that somebody said."""
    return values.get(EVENT) in _EVENTS


def is_plain_kind(value: object) -> bool:
    """Whether a cell says that a message is text, and no picture or note of a call."""
    return isinstance(value, str) and value.strip().casefold() in _PLAIN_KINDS


def _is_another_shape(columns: Sequence[str]) -> bool:
    """Whether the names say that each row is an example by itself."""
    pair = guess_pair(columns)
    is_pair = pair is not None and plain_name(pair.user.columns[0]) not in _TEXTS
    return MESSAGES in columns or is_pair or find_preference(columns) is not None


def _said_of_start(room: str | None, start: ConversationStart, settings: MessageRowsConfig) -> str:
    says = "no column says which conversation a row belongs to"
    if room is not None:
        says = f"{room} says where it was sent, and not which conversation it belongs to"
    starts = {
        ConversationStart.SYSTEM: "each system message starts a new one",
        ConversationStart.PAUSE: f"each pause of more than {settings.pause_minutes:g} minutes starts a new one",
        ConversationStart.QUESTION: "each question after an answer starts a new one, without what was said before",
    }
    return f"{says}: {starts[start]}"


def _check_named(source: Source, settings: MessageRowsConfig) -> None:
    flags = {
        name: f"--{key.replace('_', '-')}"
        for key in ("conversation_column", "role_column", "text_column", "time_column")
        if (name := getattr(settings, key)) is not None
    }
    check_columns(source, flags, flags)


def _missing(source: Source, what: str) -> SourceError:
    says = {
        "role": "distinguishes user and assistant in a known way",
        "text": "holds what the messages say",
    }[what]
    hint = {
        "role": "Name it, and what it says where the assistant speaks: --role-column NAME --assistant-role VALUE.",
        "text": "Name it: --text-column NAME.",
    }[what]
    return SourceError(
        f"{source.name} has the columns: {listed_columns(source.columns)}. None of them {says}.", hint=hint
    )
