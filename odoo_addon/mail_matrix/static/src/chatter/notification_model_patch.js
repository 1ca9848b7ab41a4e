import {Notification} from "@mail/core/common/notification_model";
import {_t} from "@web/core/l10n/translation";
import {patch} from "@web/core/utils/patch";

patch(Notification.prototype, {
    get icon() {
        return this.notification_type === "matrix" ? "fa fa-comments-o" : super.icon;
    },
    /** Odoo 19 asks for the partner of each, and a room is none. */
    get isFollowerNotification() {
        return this.notification_type !== "matrix" && super.isFollowerNotification;
    },
    /** The outcome of the message is shown beside it, without a click. */
    get label() {
        if (this.notification_type !== "matrix") {
            return super.label;
        }
        switch (this.notification_status) {
            case "ready":
                return _t("Matrix: waiting");
            case "sent":
                return _t("Matrix: sent");
            case "canceled":
                return _t("Matrix: discarded");
        }
        return _t("Matrix: not sent");
    },
});
