import {Component, onWillDestroy, status, useState} from "@odoo/owl";
import {Dialog} from "@web/core/dialog/dialog";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";
import {useFocusBack} from "@mail_matrix/focus/focus_back";
import {useService} from "@web/core/utils/hooks";

const FIRST_PAUSE = 500;
const GIVE_UP_AFTER = 60000;
const SHOWN = ["encryption_state", "encryption_problem", "encryption_fingerprint"];

/**
 * Gives the device of a backend's account its keys, or signs the device that has some.
 *
 * A dialog and not a wizard, as MatrixConnectDialog: the secrets are used once. Odoo
 * asks a worker to do it; the dialog waits for the outcome for a minute at most.
 */
export class MatrixEncryptionDialog extends Component {
    static template = "mail_matrix.EncryptionDialog";
    static components = {Dialog};
    static props = {
        close: Function,
        onDone: Function,
        backendId: Number,
        purpose: String,
        account: {type: String, optional: true},
        // Whether messages are sent through the application service.
        asAppservice: {type: Boolean, optional: true},
    };
    static defaultProps = {account: "", asAppservice: false};

    setup() {
        useFocusBack();
        this.http = useService("http");
        this.orm = useService("orm");
        this.notification = useService("notification");
        this.signs = this.props.purpose === "sign";
        this.title = this.signs ? _t("Verify the Device") : _t("Set Up Encryption");
        this.state = useState({
            user: this.props.account,
            way: this.props.asAppservice ? "service" : "password",
            password: "",
            token: "",
            // What signs the device: nothing that the account has, its recovery key, or
            // new signing keys.
            signing: this.signs ? "recovery" : "new",
            recoveryKey: "",
            asksForKey: this.signs,
            problem: "",
            busy: false,
        });
        onWillDestroy(() => clearTimeout(this.timer));
    }

    /** Whether the application service does it, which needs no password. */
    get byService() {
        return this.signs ? this.props.asAppservice : this.state.way === "service";
    }

    /** Whether the homeserver may ask for the password. */
    get needsPassword() {
        const {way, signing} = this.state;
        const logsIn = !this.signs && way === "password";
        return logsIn || (signing === "replace" && !this.byService);
    }

    get given() {
        const {way, signing, user, password, token, recoveryKey} = this.state;
        return {
            purpose: this.props.purpose,
            // With a name, Odoo logs in.
            user: !this.signs && way === "password" ? user : "",
            password: this.needsPassword ? password : "",
            token: !this.signs && way === "token" ? token : "",
            recovery_key: signing === "recovery" ? recoveryKey : "",
            replace: signing === "replace",
            as_appservice: this.byService,
        };
    }

    get closeTitle() {
        return this.state.busy
            ? _t("Close this window. The worker goes on, and the backend shows the outcome.")
            : _t("Close this window and change nothing");
    }

    async setUp() {
        if (this.state.busy) {
            return;
        }
        Object.assign(this.state, {busy: true, problem: ""});
        try {
            const answer = await this.http.post("/mail_matrix/encryption", {
                csrf_token: odoo.csrf_token,
                backend_id: this.props.backendId,
                ...this.given,
            });
            if (answer.problem) {
                this.refuse(answer);
            } else {
                await this.wait();
            }
        } catch {
            this.refuse({problem: _t("Odoo did not answer. Reload the page and try again.")});
        }
    }

    refuse({problem, asks_for_key: asksForKey}) {
        if (asksForKey && !this.state.asksForKey) {
            Object.assign(this.state, {asksForKey: true, signing: "recovery"});
        }
        Object.assign(this.state, {problem, busy: false});
    }

    /** Wait for the worker, with growing pauses. */
    async wait() {
        let pause = FIRST_PAUSE;
        const until = Date.now() + GIVE_UP_AFTER;
        let found = await this.look();
        while (found.encryption_state === "setup" && Date.now() < until) {
            await new Promise((resolve) => (this.timer = setTimeout(resolve, pause)));
            pause *= 1.5;
            found = await this.look();
            if (status(this) === "destroyed") {
                return;
            }
        }
        this.finish(found);
    }

    async look() {
        const [found] = await this.orm.silent.read(
            "matrix.backend",
            [this.props.backendId],
            SHOWN
        );
        return found;
    }

    finish(found) {
        if (found.encryption_state === "ready") {
            this.notification.add(_t("The device is verified."), {
                type: "success",
                title: _t("Encryption is set up"),
            });
        } else {
            this.notification.add(
                found.encryption_problem ||
                    _t("The worker has not finished yet. The backend shows when it has."),
                {type: found.encryption_problem ? "danger" : "info", title: this.title}
            );
        }
        this.props.close();
        this.props.onDone();
    }
}

registry.category("actions").add("mail_matrix.encryption", (env, action, options = {}) => {
    env.services.dialog.add(MatrixEncryptionDialog, {
        ...action.params,
        onDone: options.onClose || (() => env.services.action.doAction("soft_reload")),
    });
});
