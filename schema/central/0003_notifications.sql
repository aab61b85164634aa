-- Messages to customers: who is to be told what, and what has been sent.

-- Where a user wants to be told. Personal data: it stands here alone.
CREATE TABLE contacts (
  user_id    bigint      PRIMARY KEY,
  email      text        NOT NULL CHECK (email ~ '^[^[:space:]<>@]+@[^[:space:]<>@]+$'
                                         AND length(email) <= 254),
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- What is to be sent is written down in the transaction that consumes the event, and sent afterwards.
CREATE TABLE notifications (
  id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id    uuid        NOT NULL,
  channel     text        NOT NULL CHECK (channel IN ('log', 'webhook', 'smtp')),
  kind        text        NOT NULL CHECK (kind IN ('order_confirmation', 'cancellation_alert')),
  status      text        NOT NULL DEFAULT 'pending'
              CHECK (status IN ('pending', 'sending', 'sent', 'failed')),
  attempts    integer     NOT NULL DEFAULT 0,
  last_error  text,                            -- of the last attempt that failed
  device_id   text        NOT NULL,
  location    text        NOT NULL,
  order_id    bigint      NOT NULL,
  user_id     bigint      NOT NULL,
  items       json        NOT NULL,
  total       bigint      NOT NULL,
  occurred_at timestamptz NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  due_at      timestamptz NOT NULL DEFAULT now(), -- the next try; while sending: when the claim ends
  claim       bigint      NOT NULL DEFAULT 0,     -- rises each time a sender takes it
  sent_at     timestamptz,
  UNIQUE (event_id, channel)
);
CREATE INDEX notifications_due ON notifications (channel, due_at, id)
  WHERE status IN ('pending', 'sending');
CREATE INDEX notifications_of_order ON notifications (device_id, order_id, id)
  WHERE status IN ('pending', 'sending');
CREATE INDEX notifications_failed ON notifications (id) WHERE status = 'failed';
